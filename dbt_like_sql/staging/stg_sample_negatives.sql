-- Negatives that a design may draw: its pools, with EXP sources as N1 or the mask filter left out where it asks for
-- that. The source of a lens is never a negative.
with drawable as (
    select
        n.*,
        case when $without_maskbits then n.pool_without_maskbits else n.pool end as own_pool,
        case when $without_maskbits then n.confuser_category_without_maskbits else n.confuser_category end
            as own_category
    from negative_pool as n
    where n.pool is not null or ($without_maskbits and n.pool_without_maskbits is not null)
),

lenses as (
    select distinct galaxy_id as lens_galaxy_id
    from positives
    where galaxy_id is not null
)

select
    d.galaxy_id,
    case when d.own_pool = 'N1b' then 'N1' else d.own_pool end as pool,
    d.own_category as confuser_category,
    d.ra,
    d.dec,
    d.brickname,
    d.type,
    d.type_bin,
    d.nobs_z,
    d.mag_g,
    d.mag_r,
    d.mag_z,
    d.psfsize_g,
    d.psfsize_r,
    d.psfsize_z,
    d.psfdepth_g,
    d.psfdepth_r,
    d.psfdepth_z,
    d.psfdepth_r_mag,
    d.galdepth_g,
    d.galdepth_r,
    d.galdepth_z,
    d.ebv,
    d.maskbits,
    d.shape_r,
    d.shape_e1,
    d.shape_e2,
    d.sersic,
    d.healpix_128,
    d.sky_partition,
    d.split,
    d.region_id,
    d.fold
from drawable as d
left join lenses as l on d.galaxy_id = l.lens_galaxy_id
where
    l.lens_galaxy_id is null
    and (d.own_pool in ('N1', 'N2') or ($include_exp and d.own_pool = 'N1b'))
    and ($design_ebv_max is null or coalesce(d.ebv < $design_ebv_max, false))
