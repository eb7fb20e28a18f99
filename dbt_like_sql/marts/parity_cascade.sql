-- The cascade: for each filter in order, the rows that fail it alone, the rows it removes from what the filters
-- before it left, and what is left after it.
with filters as (
    select *
    from (
        values
        (1, 'coordinates', 'published'),
        (2, 'footprint', 'published'),
        (3, 'type', 'published'),
        (4, 'maskbits', 'published'),
        (5, 'nobs', 'published'),
        (6, 'mag_z', 'published'),
        (7, 'exclusion', 'published'),
        (8, 'unique', 'published'),
        (9, 'ebv', 'extension'),
        (10, 'galactic_latitude', 'extension'),
        (11, 'psfsize', 'extension'),
        (12, 'psfdepth', 'extension'),
        (13, 'strict_maskbits', 'extension')
    ) as f (ordinal, filter, recipe)
),

removed as (
    select
        first_failed_filter,
        count(*) as fails_in_order
    from negative_pool
    group by first_failed_filter
),

counted as (
    select
        f.ordinal,
        f.filter,
        f.recipe,
        t.rows_in as all_rows,
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
    from filters as f
    cross join int_filter_totals as t
    left join removed as r on f.filter = r.first_failed_filter
)

select
    cast(c.ordinal as bigint) as ordinal,
    c.filter,
    c.recipe,
    cast(c.all_rows - (sum(c.fails_in_order) over (order by c.ordinal) - c.fails_in_order) as bigint) as rows_in,
    cast(coalesce(c.fails_alone, 0) as bigint) as fails_alone,
    cast(c.fails_in_order as bigint) as fails_in_order,
    cast(c.all_rows - sum(c.fails_in_order) over (order by c.ordinal) as bigint) as rows_left
from counted as c
