-- Lenses and drawable negatives in one table with their stratum and the hash that orders the draw. The hash depends
-- on the source and the seed alone, so that any engine draws the same rows in any order and partitioning.
with everything as (
    select
        1 as label,
        tier,
        cast(null as varchar) as pool,
        cast(null as varchar) as confuser_category,
        galaxy_id, split, healpix_128, sky_partition, region_id, fold, ra, dec, brickname, type, type_bin, nobs_z,
        weight as sample_weight,
        lens_id, family, confirmation, evaluation_only,
        mag_g, mag_r, mag_z, psfsize_g, psfsize_r, psfsize_z, psfdepth_g, psfdepth_r, psfdepth_z, psfdepth_r_mag,
        galdepth_g, galdepth_r, galdepth_z, ebv, maskbits, shape_r, shape_e1, shape_e2, sersic
    from stg_sample_positives
    union all
    select
        0 as label,
        pool as tier,
        pool,
        confuser_category,
        galaxy_id, split, healpix_128, sky_partition, region_id, fold, ra, dec, brickname, type, type_bin, nobs_z,
        cast(1 as double) as sample_weight,
        cast(null as varchar) as lens_id,
        cast(null as varchar) as family,
        cast(null as varchar) as confirmation,
        false as evaluation_only,
        mag_g, mag_r, mag_z, psfsize_g, psfsize_r, psfsize_z, psfdepth_g, psfdepth_r, psfdepth_z, psfdepth_r_mag,
        galdepth_g, galdepth_r, galdepth_z, ebv, maskbits, shape_r, shape_e1, shape_e2, sersic
    from stg_sample_negatives
)

select
    e.*,
    coalesce(b.ordinal, 0) as nobs_z_ordinal,
    coalesce(b.label, 'none') as nobs_z_bin,
    coalesce(c.label, 'none') as condition_bin,
    case
        when $condition = 'none' then concat(e.type_bin, '|', coalesce(b.label, 'none'))
        else concat(e.type_bin, '|', coalesce(b.label, 'none'), '|', coalesce(c.label, 'none'))
    end as stratum,
    sha256(concat(e.galaxy_id, '_', cast($seed as varchar))) as draw_hash
from everything as e
left join nobs_z_bins as b on e.nobs_z >= b.low and (b.high is null or e.nobs_z <= b.high)
left join condition_bins as c
    on
        case $condition when 'psfsize_r' then e.psfsize_r when 'psfdepth_r_mag' then e.psfdepth_r_mag else 0 end
        >= c.low
        and case $condition when 'psfsize_r' then e.psfsize_r when 'psfdepth_r_mag' then e.psfdepth_r_mag else 0 end
        < c.high
