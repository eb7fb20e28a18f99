-- The cascade over all sources: for each filter in order, the rows that fail it alone, the rows it removes from what
-- the filters before it left, and what is left after it.
select
    ordinal,
    filter,
    recipe,
    rows_in,
    fails_alone,
    fails_in_order,
    rows_left
from int_cascade
where dimension = 'all'
