-- Lenses of a design, one row a Tractor source: where two systems claim one source, the better tier and then the
-- nearer keeps it. Systems for evaluation only are left out of the cells that train.
with claims as (
    select
        p.*,
        row_number() over (partition by p.galaxy_id order by p.tier, p.separation_arcsec, p.lens_id) as claim
    from positives as p
    where p.matched and p.galaxy_id is not null
)

select
    c.lens_id,
    c.galaxy_id,
    c.tier,
    c.weight,
    c.family,
    c.confirmation,
    coalesce(c.evaluation_only, false) as evaluation_only,
    c.ra,
    c.dec,
    c.brickname,
    c.type,
    case when c.type in ('SER', 'DEV', 'REX', 'EXP') then c.type else 'other' end as type_bin,
    c.nobs_z,
    c.mag_g,
    c.mag_r,
    c.mag_z,
    c.psfsize_g,
    c.psfsize_r,
    c.psfsize_z,
    c.psfdepth_g,
    c.psfdepth_r,
    c.psfdepth_z,
    c.psfdepth_r_mag,
    c.galdepth_g,
    c.galdepth_r,
    c.galdepth_z,
    c.ebv,
    c.maskbits,
    c.shape_r,
    c.shape_e1,
    c.shape_e2,
    c.sersic,
    c.healpix_128,
    c.sky_partition,
    s.split,
    s.region_id,
    s.fold
from claims as c
inner join split_cells as s on c.healpix_128 = s.healpix_128
where
    c.claim = 1
    and not (coalesce(c.evaluation_only, false) and s.split = 'train')
    and ($positives = 'all' or ($positives = 'confirmed' and c.confirmation = 'confirmed'))
    and ($design_ebv_max is null or coalesce(c.ebv < $design_ebv_max, false))
