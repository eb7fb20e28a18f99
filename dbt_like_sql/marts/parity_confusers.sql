-- Each category of N2, the classes and the curated ones: how many candidates it decides, and what share that is of
-- all candidates and of N2. A class that decides none is listed with zero.
with totals as (
    select
        count(*) as candidates,
        sum(case when pool = 'N2' then 1 else 0 end) as confusers
    from negative_pool
    where pool in ('N1', 'N2')
),

decided as (
    select
        confuser_category,
        count(*) as n
    from negative_pool
    where pool = 'N2'
    group by confuser_category
),

classes as (
    select *
    from (
        values
        (1, 'ring_proxy', 'published'),
        (2, 'edge_on_proxy', 'published'),
        (3, 'blue_clumpy_proxy', 'published'),
        (4, 'large_galaxy_proxy', 'published'),
        (5, 'merger_neighbour_proxy', 'extension'),
        (6, 'spiral_proxy', 'extension'),
        (7, 'pointy_core_proxy', 'extension'),
        (8, 'bright_star_artefact', 'extension')
    ) as c (ordinal, category, recipe)
)

select
    cast(coalesce(c.ordinal, 99) as bigint) as ordinal,
    coalesce(c.category, d.confuser_category) as category,
    coalesce(c.recipe, 'curated') as recipe,
    cast(coalesce(d.n, 0) as bigint) as n,
    coalesce(d.n, 0) / cast(nullif(t.candidates, 0) as double) as share_of_candidates,
    coalesce(d.n, 0) / cast(nullif(t.confusers, 0) as double) as share_of_n2
from classes as c
full outer join decided as d on c.category = d.confuser_category
cross join totals as t
