-- Each stratum of a stratified design gives exactly the N1 of its quota: neither a row too many nor a silent lack.
with drawn as (
    select
        split,
        stratum,
        sum(case when pool = 'N1' then 1 else 0 end) as n1
    from stratified_sample
    group by split, stratum
)

select
    q.split,
    q.stratum,
    q.quota_n1,
    coalesce(d.n1, 0) as drawn_n1
from int_stratum_quotas as q
left join drawn as d on q.split = d.split and q.stratum = d.stratum
where $kind = 'stratified' and coalesce(d.n1, 0) <> q.quota_n1
