-- Per band and group: sources with too few exposures, alone and among those that reach the exposure filter, and
-- sources without a positive flux and so without a magnitude, alone and among those that reach the brightness filter.
with totals as (
    select
        dimension,
        value,
        sum(n) as all_rows,
        sum(fails_nobs_g) as fails_nobs_g,
        sum(fails_nobs_r) as fails_nobs_r,
        sum(fails_nobs_z) as fails_nobs_z,
        sum(case when first_failed_filter = 'nobs' then fails_nobs_g else 0 end) as nobs_in_order_g,
        sum(case when first_failed_filter = 'nobs' then fails_nobs_r else 0 end) as nobs_in_order_r,
        sum(case when first_failed_filter = 'nobs' then fails_nobs_z else 0 end) as nobs_in_order_z,
        sum(no_flux_g) as no_flux_g,
        sum(no_flux_r) as no_flux_r,
        sum(no_flux_z) as no_flux_z,
        sum(case when first_failed_filter = 'mag_z' then no_flux_z else 0 end) as no_flux_in_order_z
    from int_filter_groups
    group by dimension, value
)

select
    t.dimension,
    t.value,
    b.band,
    cast(t.all_rows as bigint) as all_rows,
    cast(case b.band when 'g' then t.fails_nobs_g when 'r' then t.fails_nobs_r else t.fails_nobs_z end as bigint)
        as fails_nobs,
    cast(
        case b.band when 'g' then t.nobs_in_order_g when 'r' then t.nobs_in_order_r else t.nobs_in_order_z end as bigint
    ) as fails_nobs_in_order,
    cast(case b.band when 'g' then t.no_flux_g when 'r' then t.no_flux_r else t.no_flux_z end as bigint) as no_flux,
    cast(case b.band when 'z' then t.no_flux_in_order_z end as bigint) as no_flux_in_order
from totals as t
cross join (values ('g'), ('r'), ('z')) as b (band)
