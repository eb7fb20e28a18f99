-- The partition's own rows that pass what every pool demands of a row by itself, whatever lies in its surroundings or
-- in the masks. Where no galaxy_id is repeated, all that a design may draw is made from these rows alone.
select s.*
from sweep_sources as s
where
    not s.in_margin
    and s.mag_z < $mag_z_max
    and s.nobs_g >= $nobs_min
    and s.nobs_r >= $nobs_min
    and s.nobs_z >= $nobs_min
    and s.dec > $dec_min_deg
    and s.dec < $dec_max_deg
    and (s.type in $types or s.type in $n1b_types or s.type in $n2_extra_types)
