-- How many N1 each stratum and split gives: its own target, and what a neighbouring exposure bin of the same type
-- lacks: first what the bin below lacks, then what the bin above lacks. What nobody can give is the shortfall. No
-- quota ever falls when the target grows, so that a larger target only adds rows. A bin without neighbour has null
-- there, which least() would pass over: it becomes 0 first.
with counts as (
    select
        split,
        type_bin,
        condition_bin,
        nobs_z_bin,
        nobs_z_ordinal,
        stratum,
        sum(case when label = 1 then 1 else 0 end) as positives,
        sum(case when pool = 'N1' then 1 else 0 end) as available,
        sum(case when pool = 'N2' then 1 else 0 end) as available_n2
    from int_sample_candidates
    group by split, type_bin, condition_bin, nobs_z_bin, nobs_z_ordinal, stratum
),

targets as (
    select
        c.*,
        cast(floor(c.positives * $negatives_per_positive + 0.5) as bigint) as target,
        cast(floor(c.positives * $negatives_per_positive * (1 - $n2_fraction) + 0.5) as bigint) as target_n1
    from counts as c
),

own as (
    select
        t.*,
        least(t.available, t.target_n1) as own_n1,
        t.available - least(t.available, t.target_n1) as spare,
        t.target_n1 - least(t.available, t.target_n1) as lacking
    from targets as t
),

from_above as (
    select
        o.*,
        least(o.lacking, coalesce(up.spare, 0)) as got_from_above,
        least(coalesce(down.lacking, 0), o.spare) as gave_to_below
    from own as o
    left join own as up
        on
            o.split = up.split and o.type_bin = up.type_bin and o.condition_bin = up.condition_bin
            and o.nobs_z_ordinal + 1 = up.nobs_z_ordinal
    left join own as down
        on
            o.split = down.split and o.type_bin = down.type_bin and o.condition_bin = down.condition_bin
            and o.nobs_z_ordinal - 1 = down.nobs_z_ordinal
),

from_below as (
    select
        f.*,
        least(f.lacking - f.got_from_above, coalesce(down.spare - down.gave_to_below, 0)) as got_from_below,
        least(coalesce(up.lacking - up.got_from_above, 0), f.spare - f.gave_to_below) as gave_to_above
    from from_above as f
    left join from_above as up
        on
            f.split = up.split and f.type_bin = up.type_bin and f.condition_bin = up.condition_bin
            and f.nobs_z_ordinal + 1 = up.nobs_z_ordinal
    left join from_above as down
        on
            f.split = down.split and f.type_bin = down.type_bin and f.condition_bin = down.condition_bin
            and f.nobs_z_ordinal - 1 = down.nobs_z_ordinal
)

select
    split,
    type_bin,
    nobs_z_bin,
    condition_bin,
    nobs_z_ordinal,
    stratum,
    positives,
    target,
    target_n1,
    available as available_n1,
    available_n2,
    own_n1,
    got_from_above,
    got_from_below,
    gave_to_below + gave_to_above as gave_to_neighbours,
    own_n1 + gave_to_below + gave_to_above as quota_n1,
    lacking - got_from_above - got_from_below as shortfall_n1
from from_below
