"""Settings of the survey stage: where the survey's files are, which part of the sky, what is tolerated."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting

PARTITION_KEY = re.compile(r"^hp(?P<nside>\d{2})-(?P<pixel>\d{3,})$")


class SurveySettings(Settings):
    """Layout of the survey folder, the footprint as sky partitions, and limits of the ingest."""

    source: Literal["simulated", "folder"] = setting("the simulated survey, or files in a folder")
    root: str = setting("survey root: a folder, s3:// or https:// prefix; empty when simulated")
    sweep_folder: str = setting("folder of the sweep files under the root", min_length=1)
    coadd_folder: str = setting("folder of the coadds under the root", min_length=1)
    bricks_table: str = setting("bricks table under the root", min_length=1)
    partition_nside: Literal[1, 2, 4, 8, 16] = setting("HEALPix nside (NESTED) of a sky partition")
    sky_partitions: Annotated[tuple[str, ...], Field(min_length=1)] = setting("partitions of the footprint")
    margin_arcsec: float = setting("rows of neighbours kept around a partition", "arcsec", ge=15, le=600)
    chunk_rows: int = setting("rows read from a sweep file at a time", "rows", ge=1_000, le=10_000_000)
    faintest_mag_z: float | None = setting("fainter is not ingested; null: keep all", "AB mag", ge=18, le=30)
    download_cache_gib: float = setting("disk for copies of remote files; 0: keep none", "GiB", ge=0, le=10_000)
    extinction_corrected: bool = setting("whether magnitudes and colours are corrected for Galactic dust")
    max_quarantined_fraction: float = setting("share of unreadable files that only warns", ge=0, le=1)

    @model_validator(mode="after")
    def _root_matches_source(self) -> SurveySettings:
        if (self.source == "folder") != bool(self.root):
            raise ValueError(
                f"survey.root is {self.root!r} while survey.source is {self.source!r}; expected a folder or "
                "URL when the source is 'folder', and an empty text when it is 'simulated'"
            )
        return self

    @model_validator(mode="after")
    def _partitions_are_pixels(self) -> SurveySettings:
        pixels = 12 * self.partition_nside**2
        for key in self.sky_partitions:
            match = PARTITION_KEY.match(key)
            if not match or int(match["nside"]) != self.partition_nside or int(match["pixel"]) >= pixels:
                raise ValueError(
                    f"survey.sky_partitions holds {key!r}; expected hp{self.partition_nside:02d}-<pixel> with pixels "
                    f"000 to {pixels - 1:03d}, since survey.partition_nside is {self.partition_nside}"
                )
        if len(set(self.sky_partitions)) != len(self.sky_partitions):
            raise ValueError("survey.sky_partitions names a partition twice; expected each once")
        return self
