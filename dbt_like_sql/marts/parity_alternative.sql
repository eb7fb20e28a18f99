-- How sources move between the pools and categories where the confuser thresholds are others: the stored pool against
-- the same sources classified anew. What stays out of every pool under both is left out.
select
    coalesce(b.confuser_category, b.pool, 'none') as category,
    coalesce(a.confuser_category, a.pool, 'none') as category_alternative,
    cast(count(*) as bigint) as n
from negative_pool as b
inner join int_negative_pools as a on b.galaxy_id = a.galaxy_id
where b.pass_unique and a.pass_unique and (b.pool is not null or a.pool is not null)
group by
    coalesce(b.confuser_category, b.pool, 'none'),
    coalesce(a.confuser_category, a.pool, 'none')
