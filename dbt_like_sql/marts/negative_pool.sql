-- Every source of the partition with each filter and class as a flag, its pool (N1, N1b for the extension types, N2
-- for confusers), and whether a baseline may draw it. Also the pool and category it would have without the mask
-- filter, for the ablation. The first columns have the names of the published table.
with staged as (
    select
        c.*,
        c.pass_coordinates and c.pass_footprint and c.pass_nobs and c.pass_mag_z and c.pass_exclusion and c.pass_unique
        and c.pass_ebv and c.pass_galactic_latitude and c.pass_psfsize and c.pass_psfdepth as passes_elsewhere,
        c.pass_maskbits and c.pass_strict_maskbits as passes_masks,
        c.pass_type or coalesce(c.type in $n2_extra_types, false) as may_be_n2
    from int_confuser_classes as c
),

classified as (
    select
        s.*,
        case
            when not (s.passes_elsewhere and s.may_be_n2) then null
            when s.passes_masks and s.unmasked_category is not null then s.unmasked_category
            when s.n2_bright_star_artefact then 'bright_star_artefact'
        end as confuser_category,
        case
            when not (s.passes_elsewhere and s.may_be_n2) then null
            when s.unmasked_category is not null then s.unmasked_category
            when s.n2_bright_star_artefact then 'bright_star_artefact'
        end as confuser_category_without_maskbits
    from staged as s
),

pooled as (
    select
        c.*,
        case
            when c.confuser_category is not null then 'N2'
            when c.passes_elsewhere and c.passes_masks and c.pass_type then 'N1'
            when c.passes_elsewhere and c.passes_masks and c.type in $n1b_types then 'N1b'
        end as pool,
        case
            when c.confuser_category_without_maskbits is not null then 'N2'
            when c.passes_elsewhere and c.pass_type then 'N1'
            when c.passes_elsewhere and c.type in $n1b_types then 'N1b'
        end as pool_without_maskbits
    from classified as c
)

select
    galaxy_id,
    brickname,
    objid,
    ra,
    dec,
    type,
    nobs_z,
    nobs_z_bin,
    type_bin,
    flux_g,
    flux_r,
    flux_z,
    flux_w1,
    mag_g,
    mag_r,
    mag_z,
    g_minus_r,
    r_minus_z,
    z_minus_w1,
    psfsize_g,
    psfsize_r,
    psfsize_z,
    psfdepth_g,
    psfdepth_r,
    psfdepth_z,
    galdepth_g,
    galdepth_r,
    galdepth_z,
    ebv,
    maskbits,
    fitbits,
    mw_transmission_g,
    mw_transmission_r,
    mw_transmission_z,
    shape_r,
    shape_e1,
    shape_e2,
    sersic,
    healpix_64,
    healpix_128,
    split,
    pool,
    confuser_category,
    sweep_file,
    row_index,
    $pipeline_version as pipeline_version,
    cast(null as varchar) as git_commit,
    cast(null as varchar) as extraction_timestamp,
    case
        when pool is null then null
        when pool = 'N1' then 'published'
        when
            pool = 'N2' and pass_type and pass_maskbits and contaminant_category is null
            and (n2_ring_proxy or n2_edge_on_proxy or n2_blue_clumpy_proxy or n2_large_galaxy_proxy)
            then 'published'
        else 'extension'
    end as recipe,
    coalesce(pool in ('N1', 'N2'), false) as is_candidate,
    pool_without_maskbits,
    confuser_category_without_maskbits,
    pass_coordinates,
    pass_footprint,
    pass_type,
    pass_maskbits,
    pass_nobs_g,
    pass_nobs_r,
    pass_nobs_z,
    pass_nobs,
    pass_mag_z,
    pass_exclusion,
    pass_unique,
    pass_ebv,
    pass_galactic_latitude,
    pass_psfsize,
    pass_psfdepth,
    pass_strict_maskbits,
    first_failed_filter,
    n2_ring_proxy,
    n2_edge_on_proxy,
    n2_blue_clumpy_proxy,
    n2_large_galaxy_proxy,
    n2_merger_neighbour_proxy,
    n2_spiral_proxy,
    n2_pointy_core_proxy,
    n2_bright_star_artefact,
    contaminant_category,
    exclusion_separation_arcsec,
    similar_neighbours,
    fracflux_r,
    ellipticity,
    psfdepth_r_mag,
    nobs_g,
    nobs_r,
    region_id,
    fold,
    sky_partition
from pooled
