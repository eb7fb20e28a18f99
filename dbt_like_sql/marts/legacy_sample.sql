-- The tasks of the legacy design: one row a selection set, split, drawn galaxy and replicate. An injected galaxy has its
-- own stamp and its configuration in every replicate. Of the replicates of a control, the unpaired ones show the
-- control's own stamp, a galaxy that is never injected in the set; the others show, without an arc, a galaxy of the
-- same set, split and bin that is injected. A bin without injected galaxies gives unpaired controls alone.
with numbered as (
    select
        d.*,
        row_number() over (
            partition by d.selection_set, d.legacy_split, d.psf_bin, d.depth_bin, d.is_control
            order by d.draw_hash, d.galaxy_id
        ) as place,
        count(*) over (partition by d.selection_set, d.legacy_split, d.psf_bin, d.depth_bin) as drawn,
        sum(case when d.is_control then 0 else 1 end)
            over (partition by d.selection_set, d.legacy_split, d.psf_bin, d.depth_bin) as injected
    from int_legacy_draws as d
),

replicated as (
    select
        n.*,
        r.replicate,
        n.is_control and r.replicate >= $legacy_unpaired_replicates and n.injected > 0 as is_paired
    from numbered as n
    cross join legacy_replicates as r
)

select
    $legacy_design as design,
    sha256(
        concat(
            $legacy_design, '|', t.selection_set, '|', t.legacy_split, '|', t.galaxy_id, '|',
            cast(t.replicate as varchar)
        )
    ) as task_id,
    t.selection_set,
    t.ranking,
    t.variant,
    t.legacy_split,
    cast(t.psf_bin as bigint) as psf_bin,
    cast(t.depth_bin as bigint) as depth_bin,
    t.galaxy_id as drawn_galaxy_id,
    cast(t.replicate as bigint) as replicate,
    t.is_control,
    case when not t.is_control then null when t.is_paired then 'paired' else 'unpaired' end as control_kind,
    coalesce(p.galaxy_id, t.galaxy_id) as galaxy_id,
    coalesce(p.brickname, t.brickname) as brickname,
    coalesce(p.region_id, t.region_id) as region_id,
    coalesce(p.ra, t.ra) as ra,
    coalesce(p.dec, t.dec) as dec,
    case when t.is_paired then p.type else t.type end as type,
    case when t.is_paired then p.mag_z else t.mag_z end as mag_z,
    case when t.is_paired then p.r_minus_z else t.r_minus_z end as r_minus_z,
    case when t.is_paired then p.z_minus_w1 else t.z_minus_w1 end as z_minus_w1,
    case when t.is_paired then p.psfsize_r else t.psfsize_r end as psfsize_r,
    case when t.is_paired then p.psfdepth_r_mag else t.psfdepth_r_mag end as psfdepth_r_mag,
    case when t.is_paired then p.ebv else t.ebv end as ebv,
    coalesce(p.healpix_128, t.healpix_128) as healpix_128,
    coalesce(p.sky_partition, t.sky_partition) as sky_partition,
    case when not t.is_control then c.configuration_id end as configuration_id,
    case when t.is_control then cast(0 as double) else c.theta_e_arcsec end as theta_e_arcsec,
    case when t.is_control then cast(0 as double) else c.source_delta_mag end as source_delta_mag,
    case when t.is_control then cast(0 as double) else c.source_half_light_radius_arcsec end
        as source_half_light_radius_arcsec,
    case when t.is_control then cast(0 as double) else c.source_ellipticity end as source_ellipticity,
    case when t.is_control then cast(0 as double) else c.shear end as shear,
    t.available / cast(t.drawn as double) as sampling_weight
from replicated as t
left join numbered as p
    on
        t.is_paired and not p.is_control
        and t.selection_set = p.selection_set and t.legacy_split = p.legacy_split
        and t.psf_bin = p.psf_bin and t.depth_bin = p.depth_bin
        and mod(t.place - 1, nullif(t.injected, 0)) + 1 = p.place
left join legacy_configurations as c on t.configuration = c.ordinal
