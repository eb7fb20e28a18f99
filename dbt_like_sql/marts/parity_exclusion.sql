-- How many sources each exclusion radius removes, over all sources and over those that pass every filter before it.
select
    r.radius_arcsec,
    cast(sum(case when n.exclusion_separation_arcsec <= r.radius_arcsec then 1 else 0 end) as bigint) as excluded,
    cast(
        sum(
            case
                when
                    n.exclusion_separation_arcsec <= r.radius_arcsec
                    and n.pass_coordinates and n.pass_footprint and n.pass_type and n.pass_maskbits and n.pass_nobs
                    and n.pass_mag_z
                    then 1
                else 0
            end
        ) as bigint
    ) as excluded_in_order
from exclusion_radii as r
left join negative_pool as n on n.exclusion_separation_arcsec is not null
group by r.radius_arcsec
