-- Every source of the partition with a flag for each variant of the selection of luminous red galaxies, by observed
-- magnitude and colours. A source with an unmeasured magnitude is in no variant; morphological type plays no part.
with photometry as (
    select
        s.galaxy_id,
        s.brickname,
        nullif(s.ra, cast('NaN' as double)) as ra,
        nullif(s.dec, cast('NaN' as double)) as dec,
        s.type,
        nullif(s.mag_z, cast('NaN' as double)) as mag_z,
        nullif(s.r_minus_z, cast('NaN' as double)) as r_minus_z,
        nullif(s.z_minus_w1, cast('NaN' as double)) as z_minus_w1,
        nullif(cast(s.psfsize_r as double), cast('NaN' as double)) as psfsize_r,
        nullif(s.psfdepth_r_mag, cast('NaN' as double)) as psfdepth_r_mag,
        nullif(cast(s.ebv as double), cast('NaN' as double)) as ebv,
        s.healpix_128,
        s.sky_partition
    from sweep_sources as s
    where not s.in_margin
)

select
    p.*,
    coalesce(
        p.mag_z < $lrg_v1_pure_massive_mag_z_max
        and p.r_minus_z > $lrg_v1_pure_massive_r_minus_z_min
        and p.z_minus_w1 > $lrg_v1_pure_massive_z_minus_w1_min,
        false
    ) as lrg_v1_pure_massive,
    coalesce(
        p.mag_z < $lrg_v2_baseline_dr10_mag_z_max
        and p.r_minus_z > $lrg_v2_baseline_dr10_r_minus_z_min
        and p.z_minus_w1 > $lrg_v2_baseline_dr10_z_minus_w1_min,
        false
    ) as lrg_v2_baseline_dr10,
    coalesce(
        p.mag_z < $lrg_v3_color_relaxed_mag_z_max
        and p.r_minus_z > $lrg_v3_color_relaxed_r_minus_z_min
        and p.z_minus_w1 > $lrg_v3_color_relaxed_z_minus_w1_min,
        false
    ) as lrg_v3_color_relaxed,
    coalesce(
        p.mag_z < $lrg_v4_mag_relaxed_mag_z_max
        and p.r_minus_z > $lrg_v4_mag_relaxed_r_minus_z_min
        and p.z_minus_w1 > $lrg_v4_mag_relaxed_z_minus_w1_min,
        false
    ) as lrg_v4_mag_relaxed,
    coalesce(
        p.mag_z < $lrg_v5_very_relaxed_mag_z_max
        and p.r_minus_z > $lrg_v5_very_relaxed_r_minus_z_min
        and p.z_minus_w1 > $lrg_v5_very_relaxed_z_minus_w1_min,
        false
    ) as lrg_v5_very_relaxed
from photometry as p
