-- The filters in the order in which they are applied, and which of them the published recipe has.
select
    cast(f.ordinal as bigint) as ordinal,
    f.filter,
    f.recipe
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
