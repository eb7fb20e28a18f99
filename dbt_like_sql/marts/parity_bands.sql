-- Per band: sources with too few exposures, and sources without a positive flux and so without a magnitude.
select
    b.band,
    t.rows_in,
    cast(case b.band when 'g' then t.fails_nobs_g when 'r' then t.fails_nobs_r else t.fails_nobs_z end as bigint)
        as fails_nobs,
    cast(case b.band when 'g' then t.no_flux_g when 'r' then t.no_flux_r else t.no_flux_z end as bigint) as no_flux
from (values ('g'), ('r'), ('z')) as b (band)
cross join int_filter_totals as t
