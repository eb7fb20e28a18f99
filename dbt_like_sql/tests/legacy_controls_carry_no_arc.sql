-- A control of the legacy design has no arc and what is injected has one; an unpaired control is never injected in its
-- selection set.
with injected as (
    select distinct
        selection_set,
        galaxy_id
    from legacy_sample
    where not is_control
)

select
    s.task_id,
    s.galaxy_id,
    s.control_kind,
    s.theta_e_arcsec
from legacy_sample as s
left join injected as i on s.selection_set = i.selection_set and s.galaxy_id = i.galaxy_id
where
    s.is_control <> (s.theta_e_arcsec = 0)
    or s.is_control <> (s.configuration_id is null)
    or s.is_control <> (s.control_kind is not null)
    or (coalesce(s.control_kind, '') = 'unpaired' and i.galaxy_id is not null)
    or (coalesce(s.control_kind, '') = 'paired' and i.galaxy_id is null)
