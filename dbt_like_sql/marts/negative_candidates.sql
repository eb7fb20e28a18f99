-- The sources of the negative pool that some design may draw, with or without the mask filter, and the columns that
-- designs read: all that sampling a whole survey needs of the pool. Filters that every pool demands stand here again,
-- so that an engine drops most rows before it joins anything. What has a pool has one without the mask filter too.
select
    galaxy_id,
    pool,
    confuser_category,
    pool_without_maskbits,
    confuser_category_without_maskbits,
    ra,
    dec,
    brickname,
    type,
    type_bin,
    nobs_z,
    mag_g,
    mag_r,
    mag_z,
    psfsize_g,
    psfsize_r,
    psfsize_z,
    psfdepth_g,
    psfdepth_r,
    psfdepth_z,
    psfdepth_r_mag,
    galdepth_g,
    galdepth_r,
    galdepth_z,
    ebv,
    maskbits,
    shape_r,
    shape_e1,
    shape_e2,
    sersic,
    healpix_128,
    sky_partition,
    split,
    region_id,
    fold
from negative_pool
where
    pass_mag_z
    and pass_nobs
    and pass_footprint
    and (pass_type or type in $n1b_types or type in $n2_extra_types)
    and pool_without_maskbits is not null
