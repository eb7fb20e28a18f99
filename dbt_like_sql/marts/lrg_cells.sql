-- Counts of luminous red galaxies, conditions and covered area of each HEALPix cell of the partition.
with cells as (
    select
        p.healpix_128,
        min(p.sky_partition) as sky_partition,
        count(*) as n_sources,
        median(p.psfsize_r) as psfsize_r_arcsec,
        median(p.psfdepth_r_mag) as psfdepth_r_mag,
        median(p.ebv) as ebv,
        sum(case when p.lrg_v1_pure_massive then 1 else 0 end) as n_lrg_v1_pure_massive,
        sum(case when p.lrg_v2_baseline_dr10 then 1 else 0 end) as n_lrg_v2_baseline_dr10,
        sum(case when p.lrg_v3_color_relaxed then 1 else 0 end) as n_lrg_v3_color_relaxed,
        sum(case when p.lrg_v4_mag_relaxed then 1 else 0 end) as n_lrg_v4_mag_relaxed,
        sum(case when p.lrg_v5_very_relaxed then 1 else 0 end) as n_lrg_v5_very_relaxed
    from lrg_sources as p
    where p.ra is not null and p.dec is not null
    group by p.healpix_128
)

select
    c.healpix_128,
    c.sky_partition,
    c.n_sources,
    a.area_deg2,
    c.psfsize_r_arcsec,
    c.psfdepth_r_mag,
    c.ebv,
    cast(c.n_lrg_v1_pure_massive as bigint) as n_lrg_v1_pure_massive,
    cast(c.n_lrg_v2_baseline_dr10 as bigint) as n_lrg_v2_baseline_dr10,
    cast(c.n_lrg_v3_color_relaxed as bigint) as n_lrg_v3_color_relaxed,
    cast(c.n_lrg_v4_mag_relaxed as bigint) as n_lrg_v4_mag_relaxed,
    cast(c.n_lrg_v5_very_relaxed as bigint) as n_lrg_v5_very_relaxed
from cells as c
inner join lrg_cell_areas as a on c.healpix_128 = a.healpix_128
