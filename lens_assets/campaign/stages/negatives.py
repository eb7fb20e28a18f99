"""Settings of the negative pool: the published filters in order, the confuser classes, and labelled extensions."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting

CONFUSER_CLASSES = (
    "ring_proxy", "edge_on_proxy", "blue_clumpy_proxy", "large_galaxy_proxy",
    "merger_neighbour_proxy", "spiral_proxy", "pointy_core_proxy", "bright_star_artefact",
)  # fmt: skip
"""The classes of confusers in the order in which the first match decides; the first four are the published recipe's."""

MorphologicalType = Literal["SER", "DEV", "REX", "EXP", "PSF"]
MaskBit = Annotated[int, Field(ge=0, le=16)]


class CountBin(Settings):
    """A closed range of exposure counts."""

    low: int = setting("smallest count", "exposures", ge=0)
    high: int | None = setting("largest count; null: no limit", "exposures", ge=0)

    @property
    def label(self) -> str:
        """Text of the range: 3-5, 4 or 11+."""
        if self.high is None:
            return f"{self.low}+"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


def check_contiguous(bins: tuple[CountBin, ...], key: str) -> None:
    """Raise ValueError unless the bins are ordered, without gap or overlap, and the last is open."""
    closed, last = bins[:-1], bins[-1]
    follows = all(
        left.high is not None and left.high + 1 == right.low for left, right in zip(closed, bins[1:], strict=True)
    )
    ordered = all(item.high is None or item.high >= item.low for item in bins)
    if not (follows and ordered and last.high is None):
        labels = ", ".join(item.label for item in bins)
        raise ValueError(f"{key} = {labels}; expected rising bins without gap or overlap, the last one open (11+)")


class FilterSettings(Settings):
    """The filters of the published searches, in the order in which they are applied."""

    dec_min_deg: float = setting("footprint: exclusive lower declination", "deg", ge=-90, le=90)
    dec_max_deg: float = setting("footprint: exclusive upper declination", "deg", ge=-90, le=90)
    types: tuple[MorphologicalType, ...] = setting("Tractor types kept", min_length=1)
    mask_bits: tuple[MaskBit, ...] = setting("MASKBITS positions that exclude a source")
    nobs_min: int = setting("least exposures in each of g, r, z", "exposures", ge=0, le=100)
    mag_z_max: float = setting("exclusive faint limit in z", "AB mag", ge=14, le=24)
    exclusion_radius_arcsec: float = setting(
        "sources this near to any known or candidate lens are excluded", "arcsec", gt=0, le=60
    )

    @model_validator(mode="after")
    def _declinations_ordered(self) -> FilterSettings:
        if self.dec_min_deg >= self.dec_max_deg:
            raise ValueError(
                f"filters.dec_min_deg = {self.dec_min_deg} is not below filters.dec_max_deg = {self.dec_max_deg}"
            )
        return self


class ExtensionSettings(Settings):
    """What the published recipe does not do. Each is off by null or an empty list, and labelled in the report."""

    ebv_max: float | None = setting("exclusive upper E(B-V); null: off", "mag", gt=0, le=10)
    galactic_latitude_min_deg: float | None = setting("least |b|; null: off", "deg", ge=0, lt=90)
    psfsize_r_max_arcsec: float | None = setting("largest r-band FWHM; null: off", "arcsec", gt=0, le=10)
    psfdepth_r_min_mag: float | None = setting("least 5-sigma r-band depth; null: off", "AB mag", ge=15, le=30)
    strict_mask_bits: tuple[MaskBit, ...] = setting("further MASKBITS positions that exclude; empty: off")
    n1b_types: tuple[MorphologicalType, ...] = setting("types of the separate pool N1b; empty: off")
    n2_extra_types: tuple[MorphologicalType, ...] = setting("types that may enter N2 alone; empty: off")
    confuser_classes: bool = setting("use the confuser classes beyond the published four")


class RingSettings(Settings):
    """ring_proxy: DEV, or SER with a high index; bright."""

    sersic_min: float = setting("least Sersic index of SER", ge=0, le=10)
    flux_r_min_nanomaggies: float = setting("least r flux", "nanomaggy", ge=0)


class EdgeOnSettings(Settings):
    """edge_on_proxy: elongated EXP, SER or DEV; |eps| = (a - b)/(a + b), so 0.5 is b/a = 1/3."""

    ellipticity_min: float = setting("least |eps|", ge=0, le=1)
    shape_r_min_arcsec: float = setting("least half-light radius", "arcsec", ge=0)
    shape_r_min_without_ellipticity_arcsec: float = setting("the same where |eps| is null", "arcsec", ge=0)


class BlueClumpySettings(Settings):
    """blue_clumpy_proxy: blue and bright."""

    g_minus_r_max: float = setting("reddest g - r", "mag")
    mag_r_max: float = setting("faintest r", "AB mag")


class LargeGalaxySettings(Settings):
    """large_galaxy_proxy: large and not faint."""

    shape_r_min_arcsec: float = setting("least half-light radius", "arcsec", ge=0)
    flux_r_min_nanomaggies: float = setting("least r flux", "nanomaggy", ge=0)


class MergerSettings(Settings):
    """merger_neighbour_proxy (extension): a similar neighbour, or light of neighbours in the aperture."""

    separation_min_arcsec: float = setting("nearest neighbour counted", "arcsec", ge=0)
    separation_max_arcsec: float = setting("farthest neighbour counted", "arcsec", gt=0, le=15)
    delta_mag_z_max: float = setting("largest |difference| in z", "mag", gt=0)
    fracflux_r_min: float = setting("least FRACFLUX_R that counts alone", "fraction", gt=0)

    @model_validator(mode="after")
    def _separations_ordered(self) -> MergerSettings:
        if self.separation_min_arcsec >= self.separation_max_arcsec:
            raise ValueError(
                f"merger.separation_min_arcsec = {self.separation_min_arcsec} is not below "
                f"merger.separation_max_arcsec = {self.separation_max_arcsec}"
            )
        return self


class SpiralSettings(Settings):
    """spiral_proxy (extension): bluish and extended."""

    g_minus_r_max: float = setting("reddest g - r", "mag")
    shape_r_min_arcsec: float = setting("least half-light radius", "arcsec", ge=0)


class PointyCoreSettings(Settings):
    """pointy_core_proxy (extension): a high Sersic index and compact."""

    sersic_min: float = setting("least Sersic index", ge=0, le=10)
    shape_r_max_arcsec: float = setting("largest half-light radius", "arcsec", gt=0)


class BrightStarSettings(Settings):
    """bright_star_artefact (extension): within a star's mask; this class alone skips the mask filter."""

    mask_bits: tuple[MaskBit, ...] = setting("MASKBITS positions of star masks", min_length=1)


class ConfuserSettings(Settings):
    """The confuser classes; the first match in the order of these fields decides, all matches are kept."""

    ring: RingSettings = setting("ring_proxy")
    edge_on: EdgeOnSettings = setting("edge_on_proxy")
    blue_clumpy: BlueClumpySettings = setting("blue_clumpy_proxy")
    large_galaxy: LargeGalaxySettings = setting("large_galaxy_proxy")
    merger: MergerSettings = setting("merger_neighbour_proxy, an extension")
    spiral: SpiralSettings = setting("spiral_proxy, an extension")
    pointy_core: PointyCoreSettings = setting("pointy_core_proxy, an extension")
    bright_star: BrightStarSettings = setting("bright_star_artefact, an extension")


class AlternativeSettings(Settings):
    """Other confuser thresholds, whose classes the parity report shows beside those of the campaign."""

    purpose: str = setting("what the thresholds are", min_length=1)
    confuser_classes: bool = setting("use the confuser classes beyond the published four")
    confusers: ConfuserSettings = setting("thresholds of the confuser classes")


class PoolWarningSettings(Settings):
    """Where the report warns about the composition of N2."""

    published_rate_min: float = setting("least share of the published four classes", "fraction", ge=0, le=1)
    published_rate_max: float = setting("largest share of the published four classes", "fraction", ge=0, le=1)
    largest_category_share: float = setting("largest share of one category in N2", "fraction", gt=0, le=1)
    edge_on_share_min: float = setting("least share of edge-ons in N2", "fraction", ge=0, le=1)
    edge_on_share_max: float = setting("largest share of edge-ons in N2", "fraction", ge=0, le=1)

    @model_validator(mode="after")
    def _limits_ordered(self) -> PoolWarningSettings:
        for name in ("published_rate", "edge_on_share"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low > high:
                raise ValueError(f"warnings.{name}_min = {low} is above warnings.{name}_max = {high}")
        return self


PUBLISHED: dict[str, object] = {
    "filters.dec_min_deg": -18.0,
    "filters.dec_max_deg": 32.0,
    "filters.types": ("SER", "DEV", "REX"),
    "filters.mask_bits": (1, 5, 6, 7, 11, 12, 13),
    "filters.nobs_min": 3,
    "filters.mag_z_max": 20.0,
    "filters.exclusion_radius_arcsec": 11.0,
    "confusers.ring.sersic_min": 4.0,
    "confusers.ring.flux_r_min_nanomaggies": 5.0,
    "confusers.edge_on.ellipticity_min": 0.50,
    "confusers.edge_on.shape_r_min_arcsec": 0.6,
    "confusers.edge_on.shape_r_min_without_ellipticity_arcsec": 2.0,
    "confusers.blue_clumpy.g_minus_r_max": 0.4,
    "confusers.blue_clumpy.mag_r_max": 20.5,
    "confusers.large_galaxy.shape_r_min_arcsec": 2.0,
    "confusers.large_galaxy.flux_r_min_nanomaggies": 3.0,
}
"""What the recipe that is called published sets; the report names where a campaign departs from it."""


class NegativesSettings(Settings):
    """How negatives are chosen from the sources of the survey."""

    pipeline_version: str = setting("label of the recipe, written into the pool", min_length=1)
    filters: FilterSettings = setting("the published filters")
    extensions: ExtensionSettings = setting("filters and pools beyond the published recipe")
    exclusion_sensitivity_arcsec: tuple[float, ...] = setting("radii whose exclusions are reported", "arcsec")
    contaminant_match_radius_arcsec: float = setting("curated list to source", "arcsec", gt=0, le=5)
    nobs_z_bins: tuple[CountBin, ...] = setting("bins of the exposure count in z", "exposures", min_length=1)
    confusers: ConfuserSettings = setting("thresholds of the confuser classes")
    alternatives: dict[str, AlternativeSettings] = setting("named thresholds to compare with; {} for none")
    warnings: PoolWarningSettings = setting("limits outside which the report warns")

    @property
    def departures(self) -> tuple[str, ...]:
        """Where the settings are not those of the published recipe, one statement each; lists may be in any order."""
        found = []
        for name, published in PUBLISHED.items():
            value = attrgetter(name)(self)
            if _unordered(value) != _unordered(published):
                found.append(f"{name} is {_shown(value)}, published {_shown(published)}")
        return tuple(found)

    @model_validator(mode="after")
    def _consistent(self) -> NegativesSettings:
        check_contiguous(self.nobs_z_bins, "negatives.nobs_z_bins")
        radius = self.filters.exclusion_radius_arcsec
        wrong = [value for value in self.exclusion_sensitivity_arcsec if not 0 < value <= radius]
        if wrong:
            raise ValueError(
                f"negatives.exclusion_sensitivity_arcsec holds {wrong}; expected positive radii of at most "
                f"filters.exclusion_radius_arcsec = {radius}, since separations are measured only that far"
            )
        radii = self.exclusion_sensitivity_arcsec
        if not radii or len(set(radii)) < len(radii):
            raise ValueError(f"negatives.exclusion_sensitivity_arcsec is {list(radii)}; expected radii, each once")
        measured = self.confusers.merger.model_copy(update={"fracflux_r_min": 0.0})
        for name, other in self.alternatives.items():
            if other.confusers.merger.model_copy(update={"fracflux_r_min": 0.0}) != measured:
                raise ValueError(
                    f"alternatives.{name}.confusers.merger has other separations or another delta_mag_z_max than "
                    "confusers.merger; expected the same, since neighbours are counted once: compare those by hand"
                )
        shared = set(self.extensions.n1b_types) & set(self.filters.types)
        if shared:
            raise ValueError(
                f"extensions.n1b_types and filters.types share {sorted(shared)}; expected each type in one pool"
            )
        return self


def _unordered(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
