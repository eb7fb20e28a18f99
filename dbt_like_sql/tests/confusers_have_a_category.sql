-- N2 is what has a category: no confuser without one, and no category outside N2.
select
    galaxy_id,
    pool,
    confuser_category
from negative_pool
where (coalesce(pool, 'none') = 'N2') <> (confuser_category is not null)
