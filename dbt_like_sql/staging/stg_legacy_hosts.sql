-- Luminous red galaxies of the legacy design, one row a selection set and galaxy. A selection set is a ranking of the
-- regions and a variant of the selection: the galaxies of the variant in its regions of the first ranks. Bricks, by
-- their hash, are in train, val or test. Galaxies whose PSF or depth is unknown are left out, and the sources of lenses
-- where the design asks for that.
with flagged as (
    select
        s.*,
        v.variant
    from lrg_sources as s
    cross join (
        values
        ('v1_pure_massive'), ('v2_baseline_dr10'), ('v3_color_relaxed'), ('v4_mag_relaxed'), ('v5_very_relaxed')
    ) as v (variant)
    where
        v.variant in $legacy_variants
        and case v.variant
            when 'v1_pure_massive' then s.lrg_v1_pure_massive
            when 'v2_baseline_dr10' then s.lrg_v2_baseline_dr10
            when 'v3_color_relaxed' then s.lrg_v3_color_relaxed
            when 'v4_mag_relaxed' then s.lrg_v4_mag_relaxed
            else s.lrg_v5_very_relaxed
        end
        and s.psfsize_r is not null
        and s.psfdepth_r_mag is not null
),

chosen as (
    select
        r.variant,
        r.region_id,
        k.ranking
    from lrg_regions as r
    cross join (values ('density'), ('n_lrg'), ('area_weighted'), ('psf_weighted')) as k (ranking)
    where
        k.ranking in $legacy_rankings
        and case k.ranking
            when 'density' then r.rank_density
            when 'n_lrg' then r.rank_n_lrg
            when 'area_weighted' then r.rank_area_weighted
            else r.rank_psf_weighted
        end <= $legacy_regions
),

lenses as (
    select distinct galaxy_id as lens_galaxy_id
    from positives
    where galaxy_id is not null and $legacy_without_lenses
),

placed as (
    select
        f.*,
        c.ranking,
        c.region_id,
        substr(sha256(concat(f.brickname, '_', cast($legacy_seed as varchar))), 1, 8) as brick_hash
    from flagged as f
    inner join lrg_region_cells as m on f.variant = m.variant and f.healpix_128 = m.healpix_128
    inner join chosen as c on m.variant = c.variant and m.region_id = c.region_id
    left join lenses as l on f.galaxy_id = l.lens_galaxy_id
    where l.lens_galaxy_id is null
)

select
    concat(p.ranking, '/', p.variant) as selection_set,
    p.ranking,
    p.variant,
    p.region_id,
    case
        when p.brick_hash < $legacy_train_below then 'train'
        when p.brick_hash < $legacy_val_below then 'val'
        else 'test'
    end as legacy_split,
    p.galaxy_id,
    p.brickname,
    p.ra,
    p.dec,
    p.type,
    p.mag_z,
    p.r_minus_z,
    p.z_minus_w1,
    p.psfsize_r,
    p.psfdepth_r_mag,
    p.ebv,
    p.healpix_128,
    p.sky_partition
from placed as p
