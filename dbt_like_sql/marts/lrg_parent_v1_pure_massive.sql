-- Parent sample of lens hosts, variant v1_pure_massive: bright and red.
select
    s.galaxy_id,
    s.brickname,
    s.ra,
    s.dec,
    s.type,
    s.mag_z,
    s.r_minus_z,
    s.z_minus_w1,
    s.healpix_128,
    s.sky_partition
from lrg_sources as s
where s.lrg_v1_pure_massive
