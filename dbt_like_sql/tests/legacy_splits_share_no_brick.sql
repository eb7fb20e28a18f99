-- No brick of the legacy design is in two splits, of whatever selection set: neither by its draws nor by the stamps of
-- paired controls.
select
    brickname,
    count(distinct legacy_split) as splits
from legacy_sample
group by brickname
having count(distinct legacy_split) > 1
