-- A candidate passes every filter of its pool: only one of the bright-star class may lie in a mask, and only a
-- confuser may be of another type than the published ones.
select
    galaxy_id,
    pool,
    confuser_category,
    first_failed_filter
from negative_pool
where
    is_candidate
    and not (
        pass_coordinates and pass_footprint and pass_nobs and pass_mag_z and pass_exclusion and pass_unique
        and pass_ebv and pass_galactic_latitude and pass_psfsize and pass_psfdepth
        and ((pass_maskbits and pass_strict_maskbits) or (pool = 'N2' and n2_bright_star_artefact))
        and (pass_type or pool = 'N2')
    )
