-- Lenses and drawable negatives in one narrow list with their stratum, the group they are drawn in, and the hash that
-- orders the draw. The hash depends on the source and the seed alone, so that any engine draws the same rows in any
-- order and partitioning. Measured values are joined again for what is drawn, see stratified_sample.
with everything as (
    select
        1 as label,
        cast(null as varchar) as pool,
        galaxy_id, split, type_bin, nobs_z, psfsize_r, psfdepth_r_mag
    from stg_sample_positives
    union all
    select
        0 as label,
        pool,
        galaxy_id, split, type_bin, nobs_z, psfsize_r, psfdepth_r_mag
    from stg_sample_negatives
),

binned as (
    select
        e.label,
        e.pool,
        e.galaxy_id,
        e.split,
        e.type_bin,
        coalesce(b.ordinal, 0) as nobs_z_ordinal,
        coalesce(b.label, 'none') as nobs_z_bin,
        coalesce(c.label, 'none') as condition_bin,
        case
            when $condition = 'none' then concat(e.type_bin, '|', coalesce(b.label, 'none'))
            else concat(e.type_bin, '|', coalesce(b.label, 'none'), '|', coalesce(c.label, 'none'))
        end as stratum
    from everything as e
    left join nobs_z_bins as b on e.nobs_z >= b.low and (b.high is null or e.nobs_z <= b.high)
    left join condition_bins as c
        on
            case $condition when 'psfsize_r' then e.psfsize_r when 'psfdepth_r_mag' then e.psfdepth_r_mag else 0 end
            >= c.low
            and case $condition when 'psfsize_r' then e.psfsize_r when 'psfdepth_r_mag' then e.psfdepth_r_mag else 0 end
            < c.high
)

select
    b.*,
    case
        when b.label = 1 then 'lenses'
        when $kind = 'random' then 'all'
        when b.pool = 'N2' then 'N2'
        else concat('N1|', b.stratum)
    end as draw_group,
    sha256(concat(b.galaxy_id, '_', cast($seed as varchar))) as draw_hash
from binned as b
