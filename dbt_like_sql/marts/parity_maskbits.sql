-- For each bit of MASKBITS: sources that have it, and candidates that have it although the recipe leaves it in.
with patterns as (
    select
        maskbits,
        count(*) as n,
        sum(case when pool in ('N1', 'N2') then 1 else 0 end) as candidates
    from negative_pool
    where maskbits is not null
    group by maskbits
)

select
    b.bit,
    b.name,
    b.excluded,
    cast(sum(case when (p.maskbits & b.mask) <> 0 then p.n else 0 end) as bigint) as sources,
    cast(sum(case when (p.maskbits & b.mask) <> 0 then p.candidates else 0 end) as bigint) as candidates
from mask_bits as b
left join patterns as p on p.maskbits <> 0
group by b.bit, b.name, b.excluded
