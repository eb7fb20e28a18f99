-- How many candidates of each split a random sample of the scan population takes.
select
    split,
    count(*) as available,
    least(
        count(*), case split when 'train' then $rows_train when 'val' then $rows_val else $rows_test end
    ) as quota
from int_sample_candidates
where label = 0
group by split
