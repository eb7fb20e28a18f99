-- The cascade once more for each split, each stratum and each pool. The pool is the one whose rules a source falls
-- under, so that the rows of N1b end at the type filter of the published recipe.
select
    dimension,
    value,
    ordinal,
    filter,
    recipe,
    rows_in,
    fails_alone,
    fails_in_order,
    rows_left
from int_cascade
where dimension <> 'all'
