-- The sampling weights of the N1 that a stratified design draws from a stratum add up to the N1 that it holds. Rounding
-- of the sum is allowed for. Designs without strata are not looked at.
with drawn as (
    select
        split,
        stratum,
        sum(sampling_weight) as population
    from stratified_sample
    where pool = 'N1'
    group by split, stratum
)

select
    q.split,
    q.stratum,
    q.available_n1,
    d.population
from int_stratum_quotas as q
inner join drawn as d on q.split = d.split and q.stratum = d.stratum
where $kind = 'stratified' and abs(d.population - q.available_n1) > 1e-6 * q.available_n1
