-- How many candidates of each split a random sample of the scan population takes.
with counts as (
    select
        split,
        cast(sum(available_n1 + available_n2) as bigint) as available
    from int_stratum_quotas
    group by split
)

select
    split,
    available,
    cast(
        least(available, case split when 'train' then $rows_train when 'val' then $rows_val else $rows_test end)
        as bigint
    ) as quota
from counts
where available > 0
