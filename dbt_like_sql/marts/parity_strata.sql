-- Candidates of each stratum, pool and split, and whether the published recipe or an extension put them there.
select
    type_bin,
    nobs_z_bin,
    split,
    pool,
    recipe,
    count(*) as n
from negative_pool
where pool is not null
group by type_bin, nobs_z_bin, split, pool, recipe
