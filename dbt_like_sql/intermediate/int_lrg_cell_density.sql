-- Density of luminous red galaxies of each variant in each cell, one row a cell and variant, and whether the cell is
-- among the densest of its variant (ties belong to them; a cell without any never does).
with counted as (
    select
        c.healpix_128,
        'v1_pure_massive' as variant,
        c.n_sources,
        c.area_deg2,
        c.psfsize_r_arcsec,
        c.psfdepth_r_mag,
        c.ebv,
        c.n_lrg_v1_pure_massive as n_lrg,
        c.n_lrg_v1_pure_massive / c.area_deg2 as density_per_deg2
    from lrg_cells as c
    union all
    select
        c.healpix_128,
        'v2_baseline_dr10' as variant,
        c.n_sources,
        c.area_deg2,
        c.psfsize_r_arcsec,
        c.psfdepth_r_mag,
        c.ebv,
        c.n_lrg_v2_baseline_dr10 as n_lrg,
        c.n_lrg_v2_baseline_dr10 / c.area_deg2 as density_per_deg2
    from lrg_cells as c
    union all
    select
        c.healpix_128,
        'v3_color_relaxed' as variant,
        c.n_sources,
        c.area_deg2,
        c.psfsize_r_arcsec,
        c.psfdepth_r_mag,
        c.ebv,
        c.n_lrg_v3_color_relaxed as n_lrg,
        c.n_lrg_v3_color_relaxed / c.area_deg2 as density_per_deg2
    from lrg_cells as c
    union all
    select
        c.healpix_128,
        'v4_mag_relaxed' as variant,
        c.n_sources,
        c.area_deg2,
        c.psfsize_r_arcsec,
        c.psfdepth_r_mag,
        c.ebv,
        c.n_lrg_v4_mag_relaxed as n_lrg,
        c.n_lrg_v4_mag_relaxed / c.area_deg2 as density_per_deg2
    from lrg_cells as c
    union all
    select
        c.healpix_128,
        'v5_very_relaxed' as variant,
        c.n_sources,
        c.area_deg2,
        c.psfsize_r_arcsec,
        c.psfdepth_r_mag,
        c.ebv,
        c.n_lrg_v5_very_relaxed as n_lrg,
        c.n_lrg_v5_very_relaxed / c.area_deg2 as density_per_deg2
    from lrg_cells as c
),

ordered as (
    select
        c.*,
        cume_dist() over (partition by c.variant order by c.density_per_deg2 nulls first) as share_not_denser
    from counted as c
)

select
    o.healpix_128,
    o.variant,
    o.n_sources,
    o.area_deg2,
    o.psfsize_r_arcsec,
    o.psfdepth_r_mag,
    o.ebv,
    o.n_lrg,
    o.density_per_deg2,
    o.n_lrg > 0 and o.share_not_denser > 1.0 - $lrg_dense_share as is_dense
from ordered as o
