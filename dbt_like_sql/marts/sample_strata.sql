-- What each stratum and split of a design wanted, had and gave: targets, borrowing between exposure bins, and
-- shortfalls. A shortfall is a row here, never a silence.
with drawn as (
    select
        split,
        stratum,
        sum(case when pool = 'N1' then 1 else 0 end) as drawn_n1,
        sum(case when pool = 'N2' then 1 else 0 end) as drawn_n2
    from stratified_sample
    group by split, stratum
)

select
    $design as design,
    q.split,
    q.stratum,
    q.type_bin,
    q.nobs_z_bin,
    q.condition_bin,
    cast(q.positives as bigint) as positives,
    cast(q.target as bigint) as target,
    cast(q.target_n1 as bigint) as target_n1,
    cast(q.available_n1 as bigint) as available_n1,
    cast(q.available_n2 as bigint) as available_n2,
    cast(q.got_from_above as bigint) as got_from_above,
    cast(q.got_from_below as bigint) as got_from_below,
    cast(q.gave_to_neighbours as bigint) as gave_to_neighbours,
    cast(q.shortfall_n1 as bigint) as shortfall_n1,
    cast(coalesce(d.drawn_n1, 0) as bigint) as drawn_n1,
    cast(coalesce(d.drawn_n2, 0) as bigint) as drawn_n2,
    (coalesce(d.drawn_n1, 0) + coalesce(d.drawn_n2, 0)) / cast(nullif(q.positives, 0) as double)
        as negatives_per_positive
from int_stratum_quotas as q
left join drawn as d on q.split = d.split and q.stratum = d.stratum
