-- The counts of sources by what they are looked at by: all together, by split, by stratum, by pool.
select
    'all' as dimension,
    'all' as value,
    c.*
from int_filter_counts as c
union all
select
    'split' as dimension,
    c.split as value,
    c.*
from int_filter_counts as c
union all
select
    'stratum' as dimension,
    c.stratum as value,
    c.*
from int_filter_counts as c
union all
select
    'pool' as dimension,
    c.own_pool as value,
    c.*
from int_filter_counts as c
