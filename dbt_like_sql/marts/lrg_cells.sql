-- Counts of luminous red galaxies, conditions and covered area of each HEALPix cell of the partition. The area is that
-- of the tiles of one square arcminute (rows of declination, columns of right ascension times the cosine of the row's
-- centre) that hold a source of any kind; a tile on the border of cells is shared by its numbers of sources.
with tiled as (
    select
        s.*,
        floor((s.dec + 90.0) * 60.0) as tile_row
    from lrg_sources as s
    where s.ra is not null and s.dec is not null
),

placed as (
    select
        t.*,
        floor(t.ra * 60.0 * cos(radians((t.tile_row + 0.5) / 60.0 - 90.0))) as tile_column
    from tiled as t
),

tiles as (
    select
        p.healpix_128,
        p.tile_row,
        p.tile_column,
        count(*) / sum(count(*)) over (partition by p.tile_row, p.tile_column) as share
    from placed as p
    group by p.healpix_128, p.tile_row, p.tile_column
),

areas as (
    select
        t.healpix_128,
        sum(t.share) / 3600.0 as area_deg2
    from tiles as t
    group by t.healpix_128
),

cells as (
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
    from placed as p
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
inner join areas as a on c.healpix_128 = a.healpix_128
