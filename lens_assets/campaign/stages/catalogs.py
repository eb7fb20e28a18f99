"""Settings of the catalogs stage: which lists are read, how their columns map, and what their rows are used for."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.stages.negatives import CONFUSER_CLASSES

Grading = Literal["confident", "probable"]
LensType = Literal["galaxy", "group", "cluster"]
Confirmation = Literal["confirmed", "silver", "candidate"]
MorphologicalType = Literal["PSF", "REX", "DEV", "EXP", "SER"]
TIER_WEIGHTS = {"A": (0.9, 1.0), "B": (0.3, 0.6)}
"""Range of the sample weight of each tier; a lens that the literature confirms always has weight 1."""

LENS_LABEL = "lens"
"""The label by which a review calls an object a lens; nothing else may say so."""
RESERVED_CATEGORIES = ("N1", "N1b", "N2", "none", "campaign", *CONFUSER_CLASSES)
"""Names that tables use beside the categories of contaminants: pools, and the classes that measured values decide."""
CONTAMINANT_KIND = f"a kind of contaminant, such as ring; not {', '.join(RESERVED_CATEGORIES)} or a word for a lens"
_LENS_WORDS, _DENIALS = {"lens", "lenses", "lensed", "lensing"}, {"no", "non", "not", "false"}


def names_no_contaminant(category: str) -> bool:
    """Return whether a text cannot be a category of contaminants: empty, reserved, or a word for a lens."""
    words = re.findall(r"[a-z]+", category.lower())
    lens = bool(_LENS_WORDS.intersection(words)) and not _DENIALS.intersection(words)
    return not category or lens or category.lower() in {name.lower() for name in RESERVED_CATEGORIES}


CatalogName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class LensColumns(Settings):
    """Names of a lens list's columns; an empty text where the list has none."""

    name: str = setting("designation")
    ra: str = setting("right ascension", "deg", min_length=1)
    dec: str = setting("declination", "deg", min_length=1)
    z_lens: str = setting("redshift of the lens, free text")
    type: str = setting("galaxy, group or cluster; galaxy where empty")
    grading: str = setting("confident or probable, or values of grading_values; probable where empty")
    reference: str = setting("references, joined by ' | '")


class LensSource(Settings):
    """One list of lenses."""

    name: CatalogName = setting("name of the list, part of the ids of its lenses")
    origin: Literal["lenscat", "simulated", "file"] = setting("the lenscat package, the simulated sky, or a file")
    path: str = setting("file, relative to the campaign or the simulated survey; empty for lenscat")
    sha256: str = setting("checksum the file must have; empty: any", pattern=r"^([0-9a-f]{64})?$")
    columns: LensColumns = setting("how its columns map")
    grading_values: dict[str, Grading] = setting("what other gradings mean, e.g. A: confident")
    positive_names: str = setting("pattern of names that are positives; empty: none of the list")

    @model_validator(mode="after")
    def _consistent(self) -> LensSource:
        if (self.origin == "lenscat") == bool(self.path):
            raise ValueError(
                f"lenses {self.name}: path is {self.path!r} while origin is {self.origin}; expected an empty path for "
                "lenscat and a file otherwise"
            )
        _compiles(f"positive_names of {self.name}", self.positive_names)
        return self


class FamilyRule(Settings):
    """A literature sample that names do not show: recognised by its references."""

    name: str = setting("name of the family", min_length=1)
    reference_pattern: str = setting("pattern of the references that belong to it", min_length=1)
    selection: Literal["spectroscopic", "imaging"] = setting("how its members were found")
    confident_is: Confirmation = setting("status of members graded confident")
    probable_is: Confirmation = setting("status of members graded probable")
    use: Literal["evaluation", "training"] = setting("members of the evaluation gradings: held back, or positives")
    low_visibility: bool = setting("arcs mostly invisible from the ground: only members whose stamp shows one train")

    @model_validator(mode="after")
    def _valid(self) -> FamilyRule:
        _compiles(f"reference_pattern of {self.name}", self.reference_pattern)
        return self


class TierRule(Settings):
    """Tier and training weight of positives of one grading."""

    grading: Grading = setting("grading of the list")
    tier: Literal["A", "B"] = setting("tier")
    weight: float = setting("sample weight: 0.9 to 1.0 of tier A, 0.3 to 0.6 of tier B", ge=0, le=1)

    @model_validator(mode="after")
    def _weight_of_tier(self) -> TierRule:
        low, high = TIER_WEIGHTS[self.tier]
        if not low <= self.weight <= high:
            raise ValueError(f"weight of tier {self.tier} is {self.weight}; expected {low} to {high}")
        return self


class SpectroscopicSource(Settings):
    """One list of spectroscopically selected systems."""

    name: CatalogName = setting("name of the list")
    origin: Literal["simulated", "file"] = setting("the simulated survey, or a file of your own")
    path: str = setting("CSV, FITS, VOTable or Parquet file, relative to its origin", min_length=1)
    sha256: str = setting("checksum the file must have; empty: any", pattern=r"^([0-9a-f]{64})?$")
    name_column: str = setting("column of the designation; empty: the row number")
    ra_column: str = setting("column of the right ascension", "deg", min_length=1)
    dec_column: str = setting("column of the declination", "deg", min_length=1)
    confirmation_column: str = setting("column of the status, confirmed or silver; empty: confirmation holds for all")
    confirmation: Literal["", "confirmed", "silver"] = setting("status of all; empty: see confirmation_column")

    @model_validator(mode="after")
    def _one_status(self) -> SpectroscopicSource:
        if bool(self.confirmation_column) == bool(self.confirmation):
            raise ValueError(f"spectroscopic {self.name}: expected exactly one of confirmation_column and confirmation")
        return self


class ContaminantSource(Settings):
    """One curated list of non-lenses."""

    name: CatalogName = setting("name of the list")
    origin: Literal["simulated", "file"] = setting("the simulated survey, or a file of your own")
    path: str = setting("CSV, FITS, VOTable or Parquet file, relative to its origin", min_length=1)
    sha256: str = setting("checksum the file must have; empty: any", pattern=r"^([0-9a-f]{64})?$")
    name_column: str = setting("column of the designation; empty: the row number")
    ra_column: str = setting("column of the right ascension; empty: in the J-name", "deg")
    dec_column: str = setting("column of the declination; empty: in the J-name", "deg")
    category_column: str = setting("column of the kind of contaminant; empty: category holds for all")
    category: str = setting("kind of contaminant of all rows; empty: see category_column")
    galaxy_id_column: str = setting("column of the Tractor id; empty: none")
    keep_where: dict[str, str] = setting("rows kept: column and the text it must hold, e.g. ring: '1'")

    @model_validator(mode="after")
    def _complete(self) -> ContaminantSource:
        if bool(self.category_column) == bool(self.category):
            raise ValueError(f"contaminants {self.name}: expected exactly one of category_column and category")
        if self.category and names_no_contaminant(self.category):
            raise ValueError(f"contaminants {self.name}: category is {self.category!r}; expected {CONTAMINANT_KIND}")
        if bool(self.ra_column) != bool(self.dec_column) or not (self.ra_column or self.name_column):
            raise ValueError(f"contaminants {self.name}: expected ra_column and dec_column, or J-names")
        return self


class ReviewSource(Settings):
    """Labels that reviewers gave to negatives, for instance to those that a detector scored highest."""

    name: CatalogName = setting("name of the list")
    origin: Literal["file"] = setting("a file of your own")
    path: str = setting("CSV, FITS, VOTable or Parquet file, relative to the campaign", min_length=1)
    sha256: str = setting("checksum the file must have; empty: any", pattern=r"^([0-9a-f]{64})?$")
    galaxy_id_column: str = setting("column of the Tractor id; empty: by position")
    ra_column: str = setting("column of the right ascension; empty: by id", "deg")
    dec_column: str = setting("column of the declination; empty: by id", "deg")
    label_column: str = setting("column of the label: a kind of contaminant, or lens", min_length=1)
    reviewer_column: str = setting("column of the reviewer", min_length=1)

    @model_validator(mode="after")
    def _placed(self) -> ReviewSource:
        if bool(self.ra_column) != bool(self.dec_column) or bool(self.galaxy_id_column) == bool(self.ra_column):
            raise ValueError(f"reviews {self.name}: expected either galaxy_id_column, or ra_column and dec_column")
        return self


class CatalogsSettings(Settings):
    """Lists of lenses and non-lenses, and the match to the survey."""

    lenses: Annotated[tuple[LensSource, ...], Field(min_length=1)] = setting("lists of lenses, by precedence")
    families: tuple[FamilyRule, ...] = setting("literature samples; the first that matches decides")
    tiers: tuple[TierRule, ...] = setting("tier and weight by grading")
    positive_types: tuple[LensType, ...] = setting("types of rows that can be positives", min_length=1)
    evaluation_gradings: tuple[Grading, ...] = setting("family members of these gradings are held for evaluation")
    evaluation_types: tuple[LensType, ...] = setting("types of family members held for evaluation")
    duplicate_radius_arcsec: float = setting("nearer entries are one system", "arcsec", ge=0, le=30)
    spectroscopic: tuple[SpectroscopicSource, ...] = setting("lists of spectroscopically selected systems")
    spectroscopic_match_radius_arcsec: float = setting("match to imaging candidates", "arcsec", gt=0, le=30)
    spectroscopic_matched_use: Literal["evaluation", "training"] = setting("use of candidates so matched")
    contaminants: tuple[ContaminantSource, ...] = setting("curated lists of non-lenses")
    contaminant_categories: tuple[CatalogName, ...] = setting("kinds that reviews may name beside those of the lists")
    reviews: tuple[ReviewSource, ...] = setting("labels given to negatives; what is labelled lens is no negative")
    match_radius_arcsec: float = setting("lens to Tractor source", "arcsec", gt=0, le=10)
    coverage_radius_arcsec: float = setting("no source at all within it: outside the survey", "arcsec", gt=0, le=600)
    match_types: tuple[MorphologicalType, ...] = setting("Tractor types a lens may have", min_length=1)
    match_mask_bits: tuple[Annotated[int, Field(ge=0, le=16)], ...] = setting("MASKBITS that exclude a match")
    match_nobs_min: int = setting("least exposures in each of g, r, z", "exposures", ge=0, le=100)

    def tier_weight(self, tier: Literal["A", "B"]) -> float:
        """Return the sample weight of a tier."""
        return next(item.weight for item in self.tiers if item.tier == tier)

    @property
    def low_visibility_families(self) -> frozenset[str]:
        """Families of which only members with a visible arc are trained on."""
        return frozenset(rule.name for rule in self.families if rule.low_visibility)

    @property
    def files_of_your_own(self) -> tuple[str, ...]:
        """Every list that is a file beside the campaign."""
        lists: tuple[LensSource | SpectroscopicSource | ContaminantSource | ReviewSource, ...] = (
            *self.lenses, *self.spectroscopic, *self.contaminants, *self.reviews,
        )  # fmt: skip
        return tuple(item.path for item in lists if item.origin == "file")

    @model_validator(mode="after")
    def _names_and_radii(self) -> CatalogsSettings:
        groups: tuple[tuple[str, list[str]], ...] = (
            ("lenses", [item.name for item in self.lenses]),
            ("families", [item.name for item in self.families]),
            ("tiers", [str(item.grading) for item in self.tiers]),
            ("spectroscopic", [item.name for item in self.spectroscopic]),
            (
                "contaminants and reviews",
                [*(item.name for item in self.contaminants), *(item.name for item in self.reviews)],
            ),
        )
        for group, names in groups:
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{group} names {', '.join(repeated)} twice; expected each once")
        if {item.grading for item in self.tiers} != {"confident", "probable"}:
            raise ValueError("tiers: expected one entry for confident and one for probable")
        if [item.tier for item in sorted(self.tiers, key=lambda item: item.grading)] != ["A", "B"]:
            raise ValueError("tiers: expected tier A for confident and tier B for probable")
        for category in self.contaminant_categories:
            if names_no_contaminant(category):
                raise ValueError(f"contaminant_categories holds {category!r}; expected {CONTAMINANT_KIND}")
        if self.coverage_radius_arcsec <= self.match_radius_arcsec:
            raise ValueError(
                f"coverage_radius_arcsec is {self.coverage_radius_arcsec} and match_radius_arcsec "
                f"{self.match_radius_arcsec}; expected the first to be larger"
            )
        return self


def _compiles(what: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{what} is {pattern!r}; expected a regular expression ({error})") from error
