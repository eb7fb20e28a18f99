-- The sample of one design: its lenses, and in each group the negatives with the smallest hashes. The sampling weight
-- is the inverse of the probability with which a source of its group is drawn.
with ranked as (
    select
        c.*,
        row_number() over (
            partition by
                c.label,
                c.split,
                case when $kind = 'random' then 'all' else c.pool end,
                case when $kind = 'random' or c.pool = 'N2' then 'all' else c.stratum end
            order by c.draw_hash, c.galaxy_id
        ) as draw_rank
    from int_sample_candidates as c
),

limited as (
    select
        r.*,
        case
            when $kind = 'random' then q.quota
            when r.pool = 'N1' then s.quota_n1
            else n.quota_n2
        end as quota,
        case
            when $kind = 'random' then q.available
            when r.pool = 'N1' then s.available_n1
            else n.available_n2
        end as available
    from ranked as r
    left join int_stratum_quotas as s on r.split = s.split and r.stratum = s.stratum
    left join int_confuser_quotas as n on r.split = n.split
    left join int_random_quotas as q on r.split = q.split
)

select
    $design as design,
    galaxy_id,
    cast(label as bigint) as label,
    tier,
    pool,
    confuser_category,
    split,
    healpix_128,
    sky_partition,
    region_id,
    fold,
    ra,
    dec,
    brickname,
    type,
    type_bin,
    cast(nobs_z as bigint) as nobs_z,
    nobs_z_bin,
    stratum,
    sample_weight,
    case when label = 1 then cast(1 as double) else available / cast(quota as double) end as sampling_weight,
    lens_id,
    family,
    confirmation,
    evaluation_only,
    mag_g,
    mag_r,
    mag_z,
    psfsize_g,
    psfsize_r,
    psfsize_z,
    psfdepth_g,
    psfdepth_r,
    psfdepth_z,
    galdepth_g,
    galdepth_r,
    galdepth_z,
    ebv,
    cast(maskbits as bigint) as maskbits,
    shape_r,
    shape_e1,
    shape_e2,
    sersic
from limited
where (label = 1 and $kind = 'stratified') or (label = 0 and draw_rank <= quota)
