-- Sources that belong to the partition itself, one row a sweep row: NaN is null, floats are doubles, and each row
-- has its exposure bin, type bin, split, and what spherical geometry says of it. Margin rows only serve as neighbours.
with cleaned as (
    select
        s.galaxy_id,
        s.brickname,
        s.objid,
        nullif(s.ra, cast('NaN' as double)) as ra,
        nullif(s.dec, cast('NaN' as double)) as dec,
        s.type,
        s.nobs_g,
        s.nobs_r,
        s.nobs_z,
        nullif(cast(s.flux_g as double), cast('NaN' as double)) as flux_g,
        nullif(cast(s.flux_r as double), cast('NaN' as double)) as flux_r,
        nullif(cast(s.flux_z as double), cast('NaN' as double)) as flux_z,
        nullif(cast(s.flux_w1 as double), cast('NaN' as double)) as flux_w1,
        nullif(s.mag_g, cast('NaN' as double)) as mag_g,
        nullif(s.mag_r, cast('NaN' as double)) as mag_r,
        nullif(s.mag_z, cast('NaN' as double)) as mag_z,
        nullif(s.g_minus_r, cast('NaN' as double)) as g_minus_r,
        nullif(s.r_minus_z, cast('NaN' as double)) as r_minus_z,
        nullif(s.z_minus_w1, cast('NaN' as double)) as z_minus_w1,
        nullif(cast(s.psfsize_g as double), cast('NaN' as double)) as psfsize_g,
        nullif(cast(s.psfsize_r as double), cast('NaN' as double)) as psfsize_r,
        nullif(cast(s.psfsize_z as double), cast('NaN' as double)) as psfsize_z,
        nullif(cast(s.psfdepth_g as double), cast('NaN' as double)) as psfdepth_g,
        nullif(cast(s.psfdepth_r as double), cast('NaN' as double)) as psfdepth_r,
        nullif(cast(s.psfdepth_z as double), cast('NaN' as double)) as psfdepth_z,
        nullif(s.psfdepth_r_mag, cast('NaN' as double)) as psfdepth_r_mag,
        nullif(cast(s.galdepth_g as double), cast('NaN' as double)) as galdepth_g,
        nullif(cast(s.galdepth_r as double), cast('NaN' as double)) as galdepth_r,
        nullif(cast(s.galdepth_z as double), cast('NaN' as double)) as galdepth_z,
        nullif(cast(s.ebv as double), cast('NaN' as double)) as ebv,
        s.maskbits,
        s.fitbits,
        nullif(cast(s.mw_transmission_g as double), cast('NaN' as double)) as mw_transmission_g,
        nullif(cast(s.mw_transmission_r as double), cast('NaN' as double)) as mw_transmission_r,
        nullif(cast(s.mw_transmission_z as double), cast('NaN' as double)) as mw_transmission_z,
        nullif(cast(s.shape_r as double), cast('NaN' as double)) as shape_r,
        nullif(cast(s.shape_e1 as double), cast('NaN' as double)) as shape_e1,
        nullif(cast(s.shape_e2 as double), cast('NaN' as double)) as shape_e2,
        nullif(cast(s.sersic as double), cast('NaN' as double)) as sersic,
        nullif(s.ellipticity, cast('NaN' as double)) as ellipticity,
        nullif(cast(s.fracflux_r as double), cast('NaN' as double)) as fracflux_r,
        s.healpix_64,
        s.healpix_128,
        s.sky_partition,
        s.sweep_file,
        s.row_index
    from sweep_sources as s
    where not s.in_margin
)

select
    c.*,
    coalesce(b.label, 'none') as nobs_z_bin,
    case when c.type in ('SER', 'DEV', 'REX', 'EXP') then c.type else 'other' end as type_bin,
    p.split,
    p.region_id,
    p.fold,
    n.exclusion_separation_arcsec,
    coalesce(n.similar_neighbours, 0) as similar_neighbours,
    n.contaminant_category
from cleaned as c
left join source_neighbourhood as n on c.galaxy_id = n.galaxy_id
left join split_cells as p on c.healpix_128 = p.healpix_128
left join nobs_z_bins as b on c.nobs_z >= b.low and (b.high is null or c.nobs_z <= b.high)
