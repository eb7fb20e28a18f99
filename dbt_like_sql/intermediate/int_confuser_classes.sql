-- Every confuser class as a flag, null values matching nothing. The first four are published; the others are
-- extensions, off together with $confuser_classes. The first match in the order of the columns names the category;
-- the bright-star class stands apart, since it alone skips the mask filter.
with flags as (
    select
        f.*,
        coalesce(
            (f.type = 'DEV' or (f.type = 'SER' and f.sersic >= $ring_sersic_min)) and f.flux_r >= $ring_flux_r_min,
            false
        ) as n2_ring_proxy,
        coalesce(
            f.type in ('EXP', 'SER', 'DEV')
            and (
                (f.ellipticity >= $edge_on_ellipticity_min and f.shape_r >= $edge_on_shape_r_min)
                or (f.ellipticity is null and f.shape_r >= $edge_on_shape_r_min_without_ellipticity)
            ),
            false
        ) as n2_edge_on_proxy,
        coalesce(f.g_minus_r <= $blue_clumpy_g_minus_r_max and f.mag_r <= $blue_clumpy_mag_r_max, false)
            as n2_blue_clumpy_proxy,
        coalesce(f.shape_r >= $large_shape_r_min and f.flux_r >= $large_flux_r_min, false) as n2_large_galaxy_proxy,
        $confuser_classes
        and (f.similar_neighbours > 0 or coalesce(f.fracflux_r >= $merger_fracflux_r_min, false))
            as n2_merger_neighbour_proxy,
        $confuser_classes
        and coalesce(f.g_minus_r <= $spiral_g_minus_r_max and f.shape_r >= $spiral_shape_r_min, false)
            as n2_spiral_proxy,
        $confuser_classes
        and coalesce(f.sersic >= $pointy_sersic_min and f.shape_r <= $pointy_shape_r_max, false)
            as n2_pointy_core_proxy,
        $confuser_classes and coalesce((f.maskbits & $bright_star_mask) <> 0, false) as n2_bright_star_artefact
    from int_negative_filters as f
)

select
    f.*,
    case
        when f.contaminant_category is not null then f.contaminant_category
        when f.n2_ring_proxy then 'ring_proxy'
        when f.n2_edge_on_proxy then 'edge_on_proxy'
        when f.n2_blue_clumpy_proxy then 'blue_clumpy_proxy'
        when f.n2_large_galaxy_proxy then 'large_galaxy_proxy'
        when f.n2_merger_neighbour_proxy then 'merger_neighbour_proxy'
        when f.n2_spiral_proxy then 'spiral_proxy'
        when f.n2_pointy_core_proxy then 'pointy_core_proxy'
    end as unmasked_category
from flags as f
