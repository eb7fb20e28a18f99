-- One row: how many sources there are and how many fail each filter, whatever else they fail.
select
    count(*) as rows_in,
    sum(case when pass_coordinates then 0 else 1 end) as fails_coordinates,
    sum(case when pass_footprint then 0 else 1 end) as fails_footprint,
    sum(case when pass_type then 0 else 1 end) as fails_type,
    sum(case when pass_maskbits then 0 else 1 end) as fails_maskbits,
    sum(case when pass_nobs_g then 0 else 1 end) as fails_nobs_g,
    sum(case when pass_nobs_r then 0 else 1 end) as fails_nobs_r,
    sum(case when pass_nobs_z then 0 else 1 end) as fails_nobs_z,
    sum(case when pass_nobs then 0 else 1 end) as fails_nobs,
    sum(case when pass_mag_z then 0 else 1 end) as fails_mag_z,
    sum(case when mag_g is null then 1 else 0 end) as no_flux_g,
    sum(case when mag_r is null then 1 else 0 end) as no_flux_r,
    sum(case when mag_z is null then 1 else 0 end) as no_flux_z,
    sum(case when pass_exclusion then 0 else 1 end) as fails_exclusion,
    sum(case when pass_unique then 0 else 1 end) as fails_unique,
    sum(case when pass_ebv then 0 else 1 end) as fails_ebv,
    sum(case when pass_galactic_latitude then 0 else 1 end) as fails_galactic_latitude,
    sum(case when pass_psfsize then 0 else 1 end) as fails_psfsize,
    sum(case when pass_psfdepth then 0 else 1 end) as fails_psfdepth,
    sum(case when pass_strict_maskbits then 0 else 1 end) as fails_strict_maskbits
from negative_pool
