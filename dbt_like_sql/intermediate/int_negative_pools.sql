-- The pool of every source: N1, N1b for the extension types, N2 for confusers; null where a filter removes it. Also the
-- pool and category it would have without the mask filter, for the ablation. A curated category stands before every
-- class, also of a source that is N2 within a star's mask.
with staged as (
    select
        c.*,
        c.pass_coordinates and c.pass_footprint and c.pass_nobs and c.pass_mag_z and c.pass_exclusion and c.pass_unique
        and c.pass_ebv and c.pass_galactic_latitude and c.pass_psfsize and c.pass_psfdepth as passes_elsewhere,
        c.pass_maskbits and c.pass_strict_maskbits as passes_masks,
        c.pass_type or coalesce(c.type in $n2_extra_types, false) as may_be_n2
    from int_confuser_classes as c
),

classified as (
    select
        s.*,
        case
            when not (s.passes_elsewhere and s.may_be_n2) then null
            when s.passes_masks and s.unmasked_category is not null then s.unmasked_category
            when s.n2_bright_star_artefact then coalesce(s.contaminant_category, 'bright_star_artefact')
        end as confuser_category,
        case
            when not (s.passes_elsewhere and s.may_be_n2) then null
            when s.unmasked_category is not null then s.unmasked_category
            when s.n2_bright_star_artefact then 'bright_star_artefact'
        end as confuser_category_without_maskbits
    from staged as s
)

select
    c.*,
    case
        when c.confuser_category is not null then 'N2'
        when c.passes_elsewhere and c.passes_masks and c.pass_type then 'N1'
        when c.passes_elsewhere and c.passes_masks and c.type in $n1b_types then 'N1b'
    end as pool,
    case
        when c.confuser_category_without_maskbits is not null then 'N2'
        when c.passes_elsewhere and c.pass_type then 'N1'
        when c.passes_elsewhere and c.type in $n1b_types then 'N1b'
    end as pool_without_maskbits
from classified as c
