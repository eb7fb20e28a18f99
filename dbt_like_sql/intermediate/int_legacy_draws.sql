-- The draw of the legacy design: in each selection set, split and bin of PSF and depth the galaxies with the smallest
-- hashes, then no more than the rows wanted of the set and split, in the order of another hash. Each galaxy is a
-- control or is injected, by a third hash, and has one configuration, by a fourth: five hexadecimal digits modulo
-- the number of configurations.
with binned as (
    select
        h.*,
        p.ordinal as psf_bin,
        d.ordinal as depth_bin,
        sha256(concat(h.galaxy_id, '_', cast($legacy_seed as varchar))) as draw_hash,
        sha256(concat(h.galaxy_id, '_', cast($legacy_cap_seed as varchar))) as cap_hash,
        sha256(concat(h.galaxy_id, '_', cast($legacy_configuration_seed as varchar))) as configuration_hash,
        sha256(concat(h.galaxy_id, '_', cast($legacy_control_seed as varchar))) as control_hash
    from stg_legacy_hosts as h
    inner join legacy_bins as p on p.axis = 'psfsize_r' and h.psfsize_r >= p.low and h.psfsize_r < p.high
    inner join legacy_bins as d on d.axis = 'psfdepth_r_mag' and h.psfdepth_r_mag >= d.low and h.psfdepth_r_mag < d.high
),

ranked as (
    select
        b.*,
        count(*) over (partition by b.selection_set, b.legacy_split, b.psf_bin, b.depth_bin) as available,
        row_number() over (
            partition by b.selection_set, b.legacy_split, b.psf_bin, b.depth_bin
            order by b.draw_hash, b.galaxy_id
        ) as bin_rank
    from binned as b
),

capped as (
    select
        r.*,
        row_number() over (
            partition by r.selection_set, r.legacy_split
            order by r.cap_hash, r.galaxy_id
        ) as cap_rank
    from ranked as r
    where r.bin_rank <= $legacy_rows_per_bin
)

select
    c.*,
    substr(c.control_hash, 1, 8) < $legacy_control_below as is_control,
    mod(
        (strpos('0123456789abcdef', substr(c.configuration_hash, 1, 1)) - 1) * 65536
        + (strpos('0123456789abcdef', substr(c.configuration_hash, 2, 1)) - 1) * 4096
        + (strpos('0123456789abcdef', substr(c.configuration_hash, 3, 1)) - 1) * 256
        + (strpos('0123456789abcdef', substr(c.configuration_hash, 4, 1)) - 1) * 16
        + (strpos('0123456789abcdef', substr(c.configuration_hash, 5, 1)) - 1),
        $legacy_configurations
    ) as configuration
from capped as c
where c.cap_rank <= $legacy_rows
