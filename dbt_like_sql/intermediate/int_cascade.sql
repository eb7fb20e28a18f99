-- The cascade of each group: for each filter in order, the rows that fail it alone, the rows it removes from what the
-- filters before it left, and what is left after it.
with totals as (
    select
        dimension,
        value,
        sum(n) as all_rows,
        sum(fails_coordinates) as fails_coordinates,
        sum(fails_footprint) as fails_footprint,
        sum(fails_type) as fails_type,
        sum(fails_maskbits) as fails_maskbits,
        sum(fails_nobs) as fails_nobs,
        sum(fails_mag_z) as fails_mag_z,
        sum(fails_exclusion) as fails_exclusion,
        sum(fails_unique) as fails_unique,
        sum(fails_ebv) as fails_ebv,
        sum(fails_galactic_latitude) as fails_galactic_latitude,
        sum(fails_psfsize) as fails_psfsize,
        sum(fails_psfdepth) as fails_psfdepth,
        sum(fails_strict_maskbits) as fails_strict_maskbits
    from int_filter_groups
    group by dimension, value
),

removed as (
    select
        dimension,
        value,
        first_failed_filter,
        sum(n) as fails_in_order
    from int_filter_groups
    group by dimension, value, first_failed_filter
),

counted as (
    select
        t.dimension,
        t.value,
        f.ordinal,
        f.filter,
        f.recipe,
        t.all_rows,
        case f.filter
            when 'coordinates' then t.fails_coordinates
            when 'footprint' then t.fails_footprint
            when 'type' then t.fails_type
            when 'maskbits' then t.fails_maskbits
            when 'nobs' then t.fails_nobs
            when 'mag_z' then t.fails_mag_z
            when 'exclusion' then t.fails_exclusion
            when 'unique' then t.fails_unique
            when 'ebv' then t.fails_ebv
            when 'galactic_latitude' then t.fails_galactic_latitude
            when 'psfsize' then t.fails_psfsize
            when 'psfdepth' then t.fails_psfdepth
            when 'strict_maskbits' then t.fails_strict_maskbits
        end as fails_alone,
        coalesce(r.fails_in_order, 0) as fails_in_order
    from totals as t
    cross join int_filters as f
    left join removed as r on t.dimension = r.dimension and t.value = r.value and f.filter = r.first_failed_filter
)

select
    c.dimension,
    c.value,
    c.ordinal,
    c.filter,
    c.recipe,
    cast(
        c.all_rows
        - (sum(c.fails_in_order) over (partition by c.dimension, c.value order by c.ordinal) - c.fails_in_order)
        as bigint
    ) as rows_in,
    cast(coalesce(c.fails_alone, 0) as bigint) as fails_alone,
    cast(c.fails_in_order as bigint) as fails_in_order,
    cast(
        c.all_rows - sum(c.fails_in_order) over (partition by c.dimension, c.value order by c.ordinal) as bigint
    ) as rows_left
from counted as c
