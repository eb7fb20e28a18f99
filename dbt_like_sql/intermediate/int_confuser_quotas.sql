-- How many N2 each split gives. The share of confusers is a constraint on the whole split, not on each stratum:
-- the target is their share of what the lenses of the split want, rounded once, and no more than their share of the N1
-- that were found. Neither falls when the target grows, which a difference of rounded targets would.
with wanted as (
    select
        split,
        cast(floor(sum(positives) * $negatives_per_positive * $n2_fraction + 0.5) as bigint) as target_n2,
        cast(floor(sum(quota_n1) * $n2_fraction / (1 - $n2_fraction) + 0.5) as bigint) as matching_n1,
        sum(available_n2) as available_n2
    from int_stratum_quotas
    group by split
)

select
    split,
    target_n2,
    cast(available_n2 as bigint) as available_n2,
    cast(least(target_n2, matching_n1, available_n2) as bigint) as quota_n2,
    cast(target_n2 - least(target_n2, matching_n1, available_n2) as bigint) as shortfall_n2
from wanted
