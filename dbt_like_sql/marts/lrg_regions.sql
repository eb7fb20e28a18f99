-- Connected regions of dense cells, one row a variant and region, ranked four ways: by density, by number, by density
-- times the square root of the area, and by density weighted with PSF, depth and dust. Conditions of a region are the
-- medians of its cells; the depth weight runs from 0 at the 10th to 1 at the 90th percentile of the variant's regions.
with cells as (
    select
        d.*,
        r.region_id
    from int_lrg_cell_density as d
    inner join lrg_region_cells as r on d.variant = r.variant and d.healpix_128 = r.healpix_128
),

regions as (
    select
        c.variant,
        c.region_id,
        count(*) as n_cells,
        cast(sum(c.n_sources) as bigint) as n_sources,
        cast(sum(c.n_lrg) as bigint) as n_lrg,
        sum(c.area_deg2) as area_deg2,
        sum(c.n_lrg) / sum(c.area_deg2) as density_per_deg2,
        median(c.psfsize_r_arcsec) as psfsize_r_arcsec,
        median(c.psfdepth_r_mag) as psfdepth_r_mag,
        median(c.ebv) as ebv
    from cells as c
    group by c.variant, c.region_id
),

placed as (
    select
        r.variant,
        r.psfdepth_r_mag,
        row_number() over (partition by r.variant order by r.psfdepth_r_mag) - 1 as place,
        count(*) over (partition by r.variant) - 1 as last_place
    from regions as r
    where r.psfdepth_r_mag is not null
),

-- percentiles by linear interpolation between the two nearest places, written out since dialects differ in theirs
depths as (
    select
        p.variant,
        sum(p.psfdepth_r_mag * greatest(0.0, 1.0 - abs(p.place - cast(0.1 as double) * p.last_place))) as shallow,
        sum(p.psfdepth_r_mag * greatest(0.0, 1.0 - abs(p.place - cast(0.9 as double) * p.last_place))) as deep
    from placed as p
    group by p.variant
),

weighted as (
    select
        r.*,
        least(1.0, exp(-(r.psfsize_r_arcsec - $lrg_psf_reference_arcsec) / $lrg_psf_scale_arcsec)) as psf_weight,
        greatest(
            0.0,
            least(
                1.0,
                (r.psfdepth_r_mag - d.shallow) / (case when d.deep > d.shallow then d.deep - d.shallow else 1.0 end)
            )
        ) as depth_weight,
        exp(-$lrg_ebv_factor * r.ebv) as dust_weight
    from regions as r
    left join depths as d on r.variant = d.variant
),

scored as (
    select
        w.*,
        w.density_per_deg2 * sqrt(w.area_deg2) as score_area_weighted,
        coalesce(w.density_per_deg2 * w.psf_weight * w.depth_weight * w.dust_weight, 0.0) as score_psf_weighted
    from weighted as w
)

select
    s.variant,
    s.region_id,
    s.n_cells,
    s.n_sources,
    s.n_lrg,
    s.area_deg2,
    s.density_per_deg2,
    s.psfsize_r_arcsec,
    s.psfdepth_r_mag,
    s.ebv,
    s.score_area_weighted,
    s.score_psf_weighted,
    row_number() over (partition by s.variant order by s.density_per_deg2 desc, s.region_id) as rank_density,
    row_number() over (partition by s.variant order by s.n_lrg desc, s.region_id) as rank_n_lrg,
    row_number() over (partition by s.variant order by s.score_area_weighted desc, s.region_id) as rank_area_weighted,
    row_number() over (partition by s.variant order by s.score_psf_weighted desc, s.region_id) as rank_psf_weighted,
    coalesce(
        s.ebv <= $lrg_ebv_max
        and s.psfsize_r_arcsec <= $lrg_psfsize_r_max_arcsec
        and s.psfdepth_r_mag >= $lrg_psfdepth_r_min_mag,
        false
    ) as good_conditions
from scored as s
