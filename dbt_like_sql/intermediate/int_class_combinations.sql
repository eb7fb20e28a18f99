-- Sources in each combination of confuser flags, among those in a pool.
select
    n2_ring_proxy,
    n2_edge_on_proxy,
    n2_blue_clumpy_proxy,
    n2_large_galaxy_proxy,
    n2_merger_neighbour_proxy,
    n2_spiral_proxy,
    n2_pointy_core_proxy,
    n2_bright_star_artefact,
    count(*) as n
from negative_pool
where pool in ('N1', 'N2')
group by
    n2_ring_proxy,
    n2_edge_on_proxy,
    n2_blue_clumpy_proxy,
    n2_large_galaxy_proxy,
    n2_merger_neighbour_proxy,
    n2_spiral_proxy,
    n2_pointy_core_proxy,
    n2_bright_star_artefact
