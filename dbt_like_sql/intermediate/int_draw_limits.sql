-- How many negatives each group of a split gives, and the beginning of the hash beyond which none of them can be: only
-- candidates up to there have to be ordered, which is few of them.
with beginnings as (
    select
        split,
        draw_group,
        substr(draw_hash, 1, 3) as beginning,
        count(*) as held
    from int_sample_candidates
    where label = 0
    group by split, draw_group, substr(draw_hash, 1, 3)
),

counted as (
    select
        b.*,
        sum(b.held) over (partition by b.split, b.draw_group) as available,
        sum(b.held) over (partition by b.split, b.draw_group order by b.beginning) - b.held as smaller
    from beginnings as b
),

quotas as (
    select
        split,
        concat('N1|', stratum) as draw_group,
        cast(quota_n1 as bigint) as quota
    from int_stratum_quotas
    where $kind = 'stratified'
    union all
    select
        split,
        'N2' as draw_group,
        quota_n2 as quota
    from int_confuser_quotas
    where $kind = 'stratified'
    union all
    select
        split,
        'all' as draw_group,
        quota
    from int_random_quotas
    where $kind = 'random'
)

select
    c.split,
    c.draw_group,
    q.quota,
    cast(c.available as bigint) as available,
    max(c.beginning) as last_beginning
from counted as c
inner join quotas as q on c.split = q.split and c.draw_group = q.draw_group
where c.smaller < q.quota
group by c.split, c.draw_group, q.quota, c.available
