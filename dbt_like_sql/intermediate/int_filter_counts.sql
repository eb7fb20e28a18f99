-- How many sources there are and how many fail each filter, whatever else they fail, in each split, stratum, pool and
-- first failed filter. The pool here is the one whose rules a source falls under, whatever filters it fails: N2 where a
-- class or a curated list names it, N1 or N1b by its type.
with sorted as (
    select
        p.*,
        case
            when
                (p.pass_type or coalesce(p.type in $n2_extra_types, false))
                and (
                    p.contaminant_category is not null
                    or p.n2_ring_proxy or p.n2_edge_on_proxy or p.n2_blue_clumpy_proxy or p.n2_large_galaxy_proxy
                    or p.n2_merger_neighbour_proxy or p.n2_spiral_proxy or p.n2_pointy_core_proxy
                    or p.n2_bright_star_artefact
                )
                then 'N2'
            when p.pass_type then 'N1'
            when coalesce(p.type in $n1b_types, false) then 'N1b'
            else 'none'
        end as own_pool
    from negative_pool as p
)

select
    split,
    concat(type_bin, '|', nobs_z_bin) as stratum,
    own_pool,
    first_failed_filter,
    count(*) as n,
    sum(case when pass_coordinates then 0 else 1 end) as fails_coordinates,
    sum(case when pass_footprint then 0 else 1 end) as fails_footprint,
    sum(case when pass_type then 0 else 1 end) as fails_type,
    sum(case when pass_maskbits then 0 else 1 end) as fails_maskbits,
    sum(case when pass_nobs_g then 0 else 1 end) as fails_nobs_g,
    sum(case when pass_nobs_r then 0 else 1 end) as fails_nobs_r,
    sum(case when pass_nobs_z then 0 else 1 end) as fails_nobs_z,
    sum(case when pass_nobs then 0 else 1 end) as fails_nobs,
    sum(case when pass_mag_z then 0 else 1 end) as fails_mag_z,
    sum(case when mag_g is null then 1 else 0 end) as no_flux_g,
    sum(case when mag_r is null then 1 else 0 end) as no_flux_r,
    sum(case when mag_z is null then 1 else 0 end) as no_flux_z,
    sum(case when pass_exclusion then 0 else 1 end) as fails_exclusion,
    sum(case when pass_unique then 0 else 1 end) as fails_unique,
    sum(case when pass_ebv then 0 else 1 end) as fails_ebv,
    sum(case when pass_galactic_latitude then 0 else 1 end) as fails_galactic_latitude,
    sum(case when pass_psfsize then 0 else 1 end) as fails_psfsize,
    sum(case when pass_psfdepth then 0 else 1 end) as fails_psfdepth,
    sum(case when pass_strict_maskbits then 0 else 1 end) as fails_strict_maskbits
from sorted
group by split, concat(type_bin, '|', nobs_z_bin), own_pool, first_failed_filter
