-- How many negatives each group of a split gives, and the beginning of the hash up to which they are looked for: only
-- candidates up to there have to be ordered, which is few of them. A hash is as good as uniform, so that quota /
-- available of the candidates lie below that share of all beginnings, give or take a square root; ten of these and
-- fifty candidates more leave less than one chance in 10^13 of too few, which a test of the sample would find.
with quotas as (
    select
        split,
        concat('N1|', stratum) as draw_group,
        cast(quota_n1 as bigint) as quota,
        available_n1 as available
    from int_stratum_quotas
    where $kind = 'stratified'
    union all
    select
        split,
        'N2' as draw_group,
        quota_n2 as quota,
        available_n2 as available
    from int_confuser_quotas
    where $kind = 'stratified'
    union all
    select
        split,
        'all' as draw_group,
        quota,
        available
    from int_random_quotas
    where $kind = 'random'
),

bounded as (
    select
        q.*,
        cast(least(4095, floor(4096 * (q.quota + 10 * sqrt(q.quota) + 50) / q.available)) as bigint) as last_of_4096
    from quotas as q
    where q.quota > 0
)

select
    b.split,
    b.draw_group,
    b.quota,
    cast(b.available as bigint) as available,
    concat(
        substr('0123456789abcdef', cast(floor(b.last_of_4096 / 256) as integer) + 1, 1),
        substr('0123456789abcdef', cast(floor(b.last_of_4096 / 16) % 16 as integer) + 1, 1),
        substr('0123456789abcdef', cast(b.last_of_4096 % 16 as integer) + 1, 1)
    ) as last_beginning
from bounded as b
