"""The published catalogs of the simulated sky, with the untidiness of real ones: lenses, spectra, contaminants.

Columns and habits follow lenscat 1.1.3: aliases joined by " | ", redshifts as text, near-duplicate rows, cluster
catalogues that only exclude, and names that do not say which survey confirmed a lens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord

from lens_assets.simulated.population import CONFUSER_KINDS
from lens_assets.simulated.sky import Sky
from lens_assets.sky.randomness import generator

LENSES = "published_lenses.csv"
SPECTROSCOPIC = "published_spectroscopic.csv"
CONTAMINANTS = "published_contaminants.csv"

DESI_REFERENCES = (
    "Huang et al. (2020) - arXiv:1906.00970",
    "Huang et al. (2021) - arXiv:2005.04730",
    "Storfer et al. (2022) - arXiv:2206.02764",
)
FAMILY_REFERENCES = {
    "SLACS": "Bolton et al. (2008) - arXiv:0805.1931",
    "BELLS": "Brownstein et al. (2011) - arXiv:1112.3683",
    "BELLS GALLERY": "Shu et al. (2016) - arXiv:1604.01842",
    "SILO": "Talbot et al. (2020) - arXiv:2007.09006",
    "SL2S": "Sonnenfeld et al. (2013) - arXiv:1307.4764",
    "SuGOHI": "SuGOHI Candidate List (2021) - www-utap.phys.s.u-tokyo.ac.jp/~oguri/sugohi/",
}
CLUSTER_REFERENCE = "Gioia et al. (1990) - doi:10.1086/191426"
GROUP_SURVEY_REFERENCE = "Lopes et al. (2004) - doi:10.1086/423038"
_SECOND_REFERENCE = "Stein et al. (2021) - arXiv:2110.00023"
_FAMILY_SHARE_VISIBLE = 0.06
_FAMILY_SHARE_HIDDEN = 0.5


def write_published(root: Path, sky: Sky) -> dict[str, int]:
    """Write the three catalogs as CSV; return rows by file name."""
    tables = {
        LENSES: lens_table(sky),
        SPECTROSCOPIC: spectroscopic_table(sky),
        CONTAMINANTS: contaminant_table(sky),
    }
    for name, table in tables.items():
        (root / name).write_text(table.to_csv(index=False, lineterminator="\n"), encoding="utf-8")
    return {name: len(table) for name, table in tables.items()}


def _lenses(sky: Sky) -> pd.DataFrame:
    return sky.objects[sky.objects["kind"] == "lens"]


def _jname(prefix: str, ra: float, dec: float) -> str:
    place = SkyCoord(ra, dec, unit="deg")
    return f"{prefix}J{place.ra.to_string('hour', sep='', pad=True)[:4]}{place.dec.to_string(sep='', pad=True, alwayssign=True)[:5]}"  # noqa: E501


def _desi_name(ra: float, dec: float) -> str:
    return f"DESI-{ra:08.4f}{dec:+08.4f}"


def _redshift_text(rng: np.random.Generator, redshift: float) -> str:
    """Return a redshift as catalogues print them: two in five unknown, some uncertain, some from two sources."""
    plain = f"{redshift:.3f}"
    choices = [
        "not measured",
        "",
        plain,
        f"{redshift:.2f}?",
        f"~{redshift:.1f}",
        f"{plain} | {redshift:.6f}",
        f"{plain} | nan",
        "-",
    ]
    return str(rng.choice(choices, p=[0.28, 0.10, 0.42, 0.05, 0.04, 0.06, 0.03, 0.02]))


def _published_name(rng: np.random.Generator, lens: pd.Series) -> tuple[str, str, str]:
    """Return (name, reference, grading). Families confirm half of the hidden lenses and few of the others."""
    ra, dec = lens["ra"], lens["dec"]
    if rng.random() < (_FAMILY_SHARE_HIDDEN if lens["hidden"] else _FAMILY_SHARE_VISIBLE):
        family = str(rng.choice(list(FAMILY_REFERENCES)))
        prefix = "SDSS" if family in ("SLACS", "BELLS", "BELLS GALLERY") else ""
        return _jname(prefix, ra, dec), FAMILY_REFERENCES[family], "confident"
    obvious = lens["arc_snr_r"] > 45.0
    grading = "confident" if rng.random() < (0.40 if obvious else 0.06) else "probable"
    return _desi_name(ra, dec), str(rng.choice(DESI_REFERENCES)), grading


def lens_table(sky: Sky) -> pd.DataFrame:
    """Return lenscat's columns: name, RA, DEC (deg), zlens, type, grading, ref; sorted by position.

    About 3% of the lenses are unknown to everyone. One in sixteen stands twice, up to 2.5 arcsec apart and under
    another name; a few lie where the survey has no bricks; cluster rows lie over some bricks.
    """
    seed = sky.settings.seed
    rows: list[dict[str, Any]] = []
    for _, lens in _lenses(sky).iterrows():
        rng = generator(seed, str(lens["object_id"]), "published")
        if rng.random() >= sky.settings.lenses.published_fraction:
            continue
        name, reference, grading = _published_name(rng, lens)
        redshift = float(
            np.clip(0.25 + 0.12 * (22.5 - 2.5 * np.log10(lens["flux_z"]) - 17.0) + rng.normal(0, 0.06), 0.08, 1.0)
        )
        text = _redshift_text(rng, redshift)
        if rng.random() < 0.05:
            name, reference = (
                f"{name} | {int(rng.integers(1_000_000, 2_000_000))}",
                f"{reference} | {_SECOND_REFERENCE}",
            )
        offset = rng.normal(0.0, 0.06, size=2)
        rows.append(_row(name, lens["ra"], lens["dec"], offset, text, "galaxy", grading, reference))
        if rng.random() < 1 / 16:
            far = rng.uniform(0.3, 1.7, size=2) * rng.choice([-1, 1], size=2)
            rows.append(_row(_jname("", lens["ra"], lens["dec"]), lens["ra"], lens["dec"], far, "not measured",
                             "galaxy", "probable", _SECOND_REFERENCE))  # fmt: skip
    rows += _outside(seed) + _clusters(sky)
    table = pd.DataFrame(rows, columns=["name", "RA", "DEC", "zlens", "type", "grading", "ref"])
    return table.sort_values(["RA", "DEC", "name"], kind="stable").reset_index(drop=True)


def _row(
    name: str, ra: float, dec: float, offset_arcsec: Any, zlens: str, kind: str, grading: str, reference: str
) -> dict[str, Any]:
    place_ra = np.mod(ra + offset_arcsec[0] / 3600.0 / np.cos(np.radians(dec)), 360.0)
    return {
        "name": name, "RA": round(float(place_ra), 5), "DEC": round(float(dec + offset_arcsec[1] / 3600.0), 5),
        "zlens": zlens, "type": kind, "grading": grading, "ref": reference,
    }  # fmt: skip


def _outside(seed: int) -> list[dict[str, Any]]:
    """Return eight candidates in the survey's footprint where this sky has no bricks."""
    rng = generator(seed, "sky", "published-outside")
    places = [(float(rng.uniform(150.0, 240.0)), float(rng.uniform(-15.0, 30.0))) for _ in range(8)]
    return [
        _row(_desi_name(ra, dec), ra, dec, (0.0, 0.0), "not measured", "galaxy", "probable", DESI_REFERENCES[2])
        for ra, dec in places
    ]


def _clusters(sky: Sky) -> list[dict[str, Any]]:
    """Return a cluster or group row over two bricks of three: they exclude negatives and are never positives."""
    rows = []
    for brick in sky.bricks:
        rng = generator(sky.settings.seed, brick.name, "published-clusters")
        if rng.random() > 2 / 3:
            continue
        side = brick.plane.pixels
        ra, dec = brick.plane.to_sky(rng.uniform(0, side, 1), rng.uniform(0, side, 1))
        listed_as_galaxy = rng.random() < 0.4
        name = _jname("NSCS " if listed_as_galaxy else "A", float(ra[0]), float(dec[0]))
        kind = "galaxy" if listed_as_galaxy else str(rng.choice(["cluster", "group"], p=[0.9, 0.1]))
        reference = GROUP_SURVEY_REFERENCE if listed_as_galaxy else CLUSTER_REFERENCE
        rows.append(
            _row(
                name,
                float(ra[0]),
                float(dec[0]),
                (0.0, 0.0),
                f"{rng.uniform(0.1, 0.5):.2f}",
                kind,
                "probable",
                reference,
            )
        )
    return rows


def spectroscopic_table(sky: Sky) -> pd.DataFrame:
    """Return lenses found by their spectra: name, RA, DEC (deg), z_lens, z_source, confirmation (confirmed or silver).

    One lens in ten, hidden ones among them, whether or not images show anything.
    """
    rows = []
    for _, lens in _lenses(sky).iterrows():
        rng = generator(sky.settings.seed, str(lens["object_id"]), "spectroscopic")
        if rng.random() < 0.10:
            z_lens = float(rng.uniform(0.1, 0.7))
            rows.append({
                "name": _jname("SPEC-", lens["ra"], lens["dec"]), "RA": round(lens["ra"], 5), "DEC": round(lens["dec"], 5),  # noqa: E501
                "z_lens": round(z_lens, 4), "z_source": round(z_lens + rng.uniform(0.4, 1.8), 4),
                "confirmation": "confirmed" if rng.random() < 0.6 else "silver",
            })  # fmt: skip
    return pd.DataFrame(rows, columns=["name", "RA", "DEC", "z_lens", "z_source", "confirmation"])


def contaminant_table(sky: Sky) -> pd.DataFrame:
    """Return reviewed non-lenses: name, RA, DEC (deg), category (the confuser classes, and artefacts by bright stars)."""  # noqa: E501
    rows = []
    reviewed = sky.objects[sky.objects["kind"].isin([*CONFUSER_KINDS, "bright_star"])]
    for _, row in reviewed.iterrows():
        if generator(sky.settings.seed, str(row["object_id"]), "reviewed").random() < 0.3:
            category = "artefact" if row["kind"] == "bright_star" else row["kind"]
            rows.append({
                "name": _jname("", row["ra"], row["dec"]), "RA": round(row["ra"], 5), "DEC": round(row["dec"], 5),
                "category": category,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=["name", "RA", "DEC", "category"])
