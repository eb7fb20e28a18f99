-- The combinations of flags in long form: one row a class that a combination holds.
select
    c.class_name,
    c.ordinal,
    c.recipe,
    f.n,
    f.n2_ring_proxy,
    f.n2_edge_on_proxy,
    f.n2_blue_clumpy_proxy,
    f.n2_large_galaxy_proxy,
    f.n2_merger_neighbour_proxy,
    f.n2_spiral_proxy,
    f.n2_pointy_core_proxy,
    f.n2_bright_star_artefact
from int_class_combinations as f
cross join (
    values
    (1, 'ring_proxy', 'published'),
    (2, 'edge_on_proxy', 'published'),
    (3, 'blue_clumpy_proxy', 'published'),
    (4, 'large_galaxy_proxy', 'published'),
    (5, 'merger_neighbour_proxy', 'extension'),
    (6, 'spiral_proxy', 'extension'),
    (7, 'pointy_core_proxy', 'extension'),
    (8, 'bright_star_artefact', 'extension')
) as c (ordinal, class_name, recipe)
where case c.ordinal
    when 1 then f.n2_ring_proxy
    when 2 then f.n2_edge_on_proxy
    when 3 then f.n2_blue_clumpy_proxy
    when 4 then f.n2_large_galaxy_proxy
    when 5 then f.n2_merger_neighbour_proxy
    when 6 then f.n2_spiral_proxy
    when 7 then f.n2_pointy_core_proxy
    else f.n2_bright_star_artefact
end
