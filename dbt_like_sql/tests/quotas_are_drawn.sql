-- Each group of a design gives exactly the negatives of its quota: neither a row too many nor a silent lack.
with drawn as (
    select
        split,
        case when $kind = 'random' then 'all' when pool = 'N2' then 'N2' else concat('N1|', stratum) end as draw_group,
        count(*) as n
    from stratified_sample
    where label = 0
    group by split, case when $kind = 'random' then 'all' when pool = 'N2' then 'N2' else concat('N1|', stratum) end
)

select
    l.split,
    l.draw_group,
    l.quota,
    coalesce(d.n, 0) as drawn
from int_draw_limits as l
left join drawn as d on l.split = d.split and l.draw_group = d.draw_group
where coalesce(d.n, 0) <> l.quota
