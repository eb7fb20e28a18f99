-- Counts of luminous red galaxies, conditions and covered area of each HEALPix cell of the partition. The area is that
-- of the HEALPix pixels of nside 4096 (0.74 square arcminutes) that hold a source of any kind: each lies in one cell, so
-- a cell's area is the same however the sky is cut. Which pixel holds a source: Gorski et al. 2005, ApJ 622, 759,
-- section 5, where rings are counted from the north pole.
with projected as (
    select
        s.*,
        s.ra / 90.0 as quarter,
        sin(radians(s.dec)) as height,
        4096.0 * sqrt(3.0 * (1.0 - abs(sin(radians(s.dec))))) as cap_reach
    from lrg_sources as s
    where s.ra is not null and s.dec is not null
),

edges as (
    select
        p.*,
        floor(4096.0 * (0.5 + p.quarter) - 3072.0 * p.height) as belt_rising,
        floor(4096.0 * (0.5 + p.quarter) + 3072.0 * p.height) as belt_falling,
        floor((p.quarter - floor(p.quarter)) * p.cap_reach)
        + floor((1.0 - p.quarter + floor(p.quarter)) * p.cap_reach) + 1.0 as cap_ring
    from projected as p
),

placed as (
    select
        e.*,
        case
            when e.height > 2.0 / 3.0
                then 2.0 * e.cap_ring * (e.cap_ring - 1.0) + floor(e.quarter * e.cap_ring)
            when e.height < -2.0 / 3.0
                then 201326592.0 - 2.0 * e.cap_ring * (e.cap_ring + 1.0) + floor(e.quarter * e.cap_ring)
            else
                33546240.0 + (4096.0 + e.belt_rising - e.belt_falling) * 16384.0
                + floor(
                    (e.belt_rising + e.belt_falling + 28673.0 + (e.belt_rising - e.belt_falling + 32768.0) % 2.0) / 2.0
                ) % 16384.0
        end as pixel_4096
    from edges as e
),

cells as (
    select
        p.healpix_128,
        min(p.sky_partition) as sky_partition,
        count(*) as n_sources,
        count(distinct p.pixel_4096) * (129600.0 / pi() / 201326592.0) as area_deg2,
        median(p.psfsize_r) as psfsize_r_arcsec,
        median(p.psfdepth_r_mag) as psfdepth_r_mag,
        median(p.ebv) as ebv,
        sum(case when p.lrg_v1_pure_massive then 1 else 0 end) as n_lrg_v1_pure_massive,
        sum(case when p.lrg_v2_baseline_dr10 then 1 else 0 end) as n_lrg_v2_baseline_dr10,
        sum(case when p.lrg_v3_color_relaxed then 1 else 0 end) as n_lrg_v3_color_relaxed,
        sum(case when p.lrg_v4_mag_relaxed then 1 else 0 end) as n_lrg_v4_mag_relaxed,
        sum(case when p.lrg_v5_very_relaxed then 1 else 0 end) as n_lrg_v5_very_relaxed
    from placed as p
    group by p.healpix_128
)

select
    c.healpix_128,
    c.sky_partition,
    c.n_sources,
    c.area_deg2,
    c.psfsize_r_arcsec,
    c.psfdepth_r_mag,
    c.ebv,
    cast(c.n_lrg_v1_pure_massive as bigint) as n_lrg_v1_pure_massive,
    cast(c.n_lrg_v2_baseline_dr10 as bigint) as n_lrg_v2_baseline_dr10,
    cast(c.n_lrg_v3_color_relaxed as bigint) as n_lrg_v3_color_relaxed,
    cast(c.n_lrg_v4_mag_relaxed as bigint) as n_lrg_v4_mag_relaxed,
    cast(c.n_lrg_v5_very_relaxed as bigint) as n_lrg_v5_very_relaxed
from cells as c
