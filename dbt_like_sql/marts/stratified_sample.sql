-- The sample of one design: its lenses, and in each group the negatives with the smallest hashes. The sampling weight
-- is the inverse of the probability with which a source of its group is drawn.
with ranked as (
    select
        c.label,
        c.galaxy_id,
        c.nobs_z_bin,
        c.stratum,
        l.quota,
        l.available,
        row_number() over (partition by c.label, c.split, c.draw_group order by c.draw_hash, c.galaxy_id) as draw_rank
    from int_sample_candidates as c
    left join int_draw_limits as l on c.split = l.split and c.draw_group = l.draw_group
    where (c.label = 1 and $kind = 'stratified') or substr(c.draw_hash, 1, 3) <= l.last_beginning
),

drawn as (
    select
        r.label,
        r.galaxy_id,
        r.nobs_z_bin,
        r.stratum,
        case when r.label = 1 then cast(1 as double) else r.available / cast(r.quota as double) end as sampling_weight
    from ranked as r
    where r.label = 1 or r.draw_rank <= r.quota
),

described as (
    select
        1 as label,
        tier,
        cast(null as varchar) as pool,
        cast(null as varchar) as confuser_category,
        galaxy_id, split, healpix_128, sky_partition, region_id, fold, ra, dec, brickname, type, type_bin, nobs_z,
        weight as sample_weight,
        lens_id, family, confirmation, evaluation_only,
        mag_g, mag_r, mag_z, psfsize_g, psfsize_r, psfsize_z, psfdepth_g, psfdepth_r, psfdepth_z,
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
        mag_g, mag_r, mag_z, psfsize_g, psfsize_r, psfsize_z, psfdepth_g, psfdepth_r, psfdepth_z,
        galdepth_g, galdepth_r, galdepth_z, ebv, maskbits, shape_r, shape_e1, shape_e2, sersic
    from stg_sample_negatives
)

select
    $design as design,
    e.galaxy_id,
    cast(e.label as bigint) as label,
    e.tier,
    e.pool,
    e.confuser_category,
    e.split,
    e.healpix_128,
    e.sky_partition,
    e.region_id,
    e.fold,
    e.ra,
    e.dec,
    e.brickname,
    e.type,
    e.type_bin,
    cast(e.nobs_z as bigint) as nobs_z,
    d.nobs_z_bin,
    d.stratum,
    e.sample_weight,
    d.sampling_weight,
    e.lens_id,
    e.family,
    e.confirmation,
    e.evaluation_only,
    e.mag_g,
    e.mag_r,
    e.mag_z,
    e.psfsize_g,
    e.psfsize_r,
    e.psfsize_z,
    e.psfdepth_g,
    e.psfdepth_r,
    e.psfdepth_z,
    e.galdepth_g,
    e.galdepth_r,
    e.galdepth_z,
    e.ebv,
    cast(e.maskbits as bigint) as maskbits,
    e.shape_r,
    e.shape_e1,
    e.shape_e2,
    e.sersic
from drawn as d
inner join described as e on d.label = e.label and d.galaxy_id = e.galaxy_id
