-- How often the confuser classes overlap: candidates in which both classes match; the diagonal counts a class alone.
select
    m.class_name,
    cast(sum(m.n) as bigint) as matches,
    cast(sum(case when m.n2_ring_proxy then m.n else 0 end) as bigint) as ring_proxy,
    cast(sum(case when m.n2_edge_on_proxy then m.n else 0 end) as bigint) as edge_on_proxy,
    cast(sum(case when m.n2_blue_clumpy_proxy then m.n else 0 end) as bigint) as blue_clumpy_proxy,
    cast(sum(case when m.n2_large_galaxy_proxy then m.n else 0 end) as bigint) as large_galaxy_proxy,
    cast(sum(case when m.n2_merger_neighbour_proxy then m.n else 0 end) as bigint) as merger_neighbour_proxy,
    cast(sum(case when m.n2_spiral_proxy then m.n else 0 end) as bigint) as spiral_proxy,
    cast(sum(case when m.n2_pointy_core_proxy then m.n else 0 end) as bigint) as pointy_core_proxy,
    cast(sum(case when m.n2_bright_star_artefact then m.n else 0 end) as bigint) as bright_star_artefact
from int_class_matches as m
group by m.class_name
