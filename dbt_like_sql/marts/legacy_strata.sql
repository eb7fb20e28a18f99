-- What each selection set, split and bin of the legacy design wanted, had and gave: every bin is listed, and what it
-- lacks is a number, never a silence.
with sets as (
    select distinct
        selection_set,
        legacy_split
    from int_legacy_draws
),

drawn as (
    select
        selection_set,
        legacy_split,
        psf_bin,
        depth_bin,
        max(available) as available,
        count(*) as drawn,
        sum(case when is_control then 1 else 0 end) as controls
    from int_legacy_draws
    group by selection_set, legacy_split, psf_bin, depth_bin
)

select
    $legacy_design as design,
    s.selection_set,
    s.legacy_split,
    cast(p.ordinal as bigint) as psf_bin,
    cast(q.ordinal as bigint) as depth_bin,
    p.low as psfsize_r_low,
    p.high as psfsize_r_high,
    q.low as psfdepth_r_mag_low,
    q.high as psfdepth_r_mag_high,
    cast($legacy_rows_per_bin as bigint) as wanted,
    cast(coalesce(d.available, 0) as bigint) as available,
    cast(coalesce(d.drawn, 0) as bigint) as drawn,
    cast(coalesce(d.controls, 0) as bigint) as controls,
    cast(greatest($legacy_rows_per_bin - coalesce(d.available, 0), 0) as bigint) as shortfall
from sets as s
inner join legacy_bins as p on p.axis = 'psfsize_r'
inner join legacy_bins as q on q.axis = 'psfdepth_r_mag'
left join drawn as d
    on
        s.selection_set = d.selection_set and s.legacy_split = d.legacy_split
        and p.ordinal = d.psf_bin and q.ordinal = d.depth_bin
