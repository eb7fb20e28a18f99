-- The source of a lens, matched to any system whether the design uses it or not, is never drawn as a negative.
select
    s.galaxy_id,
    s.pool,
    p.lens_id
from stratified_sample as s
inner join positives as p on s.galaxy_id = p.galaxy_id
where s.label = 0
