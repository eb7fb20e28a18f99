-- Each filter of the cascade begins with what the filter before it left, removes no more than fails it alone, and
-- leaves the rest.
with steps as (
    select
        c.*,
        lag(c.rows_left) over (order by c.ordinal) as left_before
    from parity_cascade as c
)

select
    filter,
    left_before,
    rows_in,
    fails_alone,
    fails_in_order,
    rows_left
from steps
where
    coalesce(left_before, rows_in) <> rows_in
    or fails_in_order > fails_alone
    or rows_in - fails_in_order <> rows_left
