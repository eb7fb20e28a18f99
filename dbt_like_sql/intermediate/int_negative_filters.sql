-- Every filter as a flag of its own, null values failing, and the first filter in order that a row fails. The first
-- eight are the published recipe; the rest are extensions that pass every row while their limit is null.
with repeated as (
    select galaxy_id
    from sweep_sources
    where not in_margin
    group by galaxy_id
    having count(*) > 1
),

-- Only rows whose galaxy_id is repeated are ranked: in a sky partition there are few or none.
ranked as (
    select
        s.galaxy_id,
        s.sweep_file,
        s.row_index,
        row_number() over (partition by s.galaxy_id order by s.sweep_file, s.row_index) as place
    from stg_sweep_sources as s
    inner join repeated as r on s.galaxy_id = r.galaxy_id
),

flags as (
    select
        s.*,
        coalesce(s.ra >= 0 and s.ra <= 360 and s.dec >= -90 and s.dec <= 90, false) as pass_coordinates,
        coalesce(s.dec > $dec_min_deg and s.dec < $dec_max_deg, false) as pass_footprint,
        coalesce(s.type in $types, false) as pass_type,
        coalesce((s.maskbits & $mask) = 0, false) as pass_maskbits,
        coalesce(s.nobs_g >= $nobs_min, false) as pass_nobs_g,
        coalesce(s.nobs_r >= $nobs_min, false) as pass_nobs_r,
        coalesce(s.nobs_z >= $nobs_min, false) as pass_nobs_z,
        coalesce(s.mag_z < $mag_z_max, false) as pass_mag_z,
        coalesce(s.exclusion_separation_arcsec > $exclusion_radius_arcsec, true) as pass_exclusion,
        coalesce(r.place, 1) = 1 as pass_unique,
        ($ebv_max is null or coalesce(s.ebv < $ebv_max, false)) as pass_ebv,
        -- b from the ICRS position of the Galactic pole, (192.85948, 27.12825) deg: Hipparcos Catalogue, vol. 1, 1.5.3
        (
            $galactic_latitude_min_deg is null
            or coalesce(
                abs(degrees(asin(
                    sin(radians(s.dec)) * sin(radians(27.12825))
                    + cos(radians(s.dec)) * cos(radians(27.12825)) * cos(radians(s.ra - 192.85948))
                ))) >= $galactic_latitude_min_deg,
                false
            )
        ) as pass_galactic_latitude,
        ($psfsize_r_max_arcsec is null or coalesce(s.psfsize_r <= $psfsize_r_max_arcsec, false)) as pass_psfsize,
        ($psfdepth_r_min_mag is null or coalesce(s.psfdepth_r_mag >= $psfdepth_r_min_mag, false)) as pass_psfdepth,
        coalesce((s.maskbits & $strict_mask) = 0, false) as pass_strict_maskbits
    from stg_sweep_sources as s
    left join ranked as r on s.galaxy_id = r.galaxy_id and s.sweep_file = r.sweep_file and s.row_index = r.row_index
)

select
    f.*,
    f.pass_nobs_g and f.pass_nobs_r and f.pass_nobs_z as pass_nobs,
    case
        when not f.pass_coordinates then 'coordinates'
        when not f.pass_footprint then 'footprint'
        when not f.pass_type then 'type'
        when not f.pass_maskbits then 'maskbits'
        when not (f.pass_nobs_g and f.pass_nobs_r and f.pass_nobs_z) then 'nobs'
        when not f.pass_mag_z then 'mag_z'
        when not f.pass_exclusion then 'exclusion'
        when not f.pass_unique then 'unique'
        when not f.pass_ebv then 'ebv'
        when not f.pass_galactic_latitude then 'galactic_latitude'
        when not f.pass_psfsize then 'psfsize'
        when not f.pass_psfdepth then 'psfdepth'
        when not f.pass_strict_maskbits then 'strict_maskbits'
    end as first_failed_filter
from flags as f
