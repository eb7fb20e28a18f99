"""The release as files: tables, FITS copy, metadata, model card, citation and the loader that reads them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.campaign.stages.selection_function import CONDITION_BAND, DEPTH_DEFINITION, GridSettings
from lens_assets.selection import loader

LOADER_FILE = "selection_function.py"
FITS_FILE = "grid.fits"
SCIENCE_PACKAGE = "lens_assets"

# Units of the FITS columns, in the FITS standard's spelling (section 4.3).
FITS_UNITS = {"theta_e_arcsec": "arcsec", "psf_fwhm_arcsec": "arcsec", "depth_mag": "mag", "centre": ""}


def completeness_at(
    table: pd.DataFrame, theta_e_arcsec: float, psf_fwhm_arcsec: float, depth_mag: float, threshold: str, detector: str
) -> dict[str, float]:
    """Return completeness with its 95% limits at one point, NaN where the grid does not support it.

    The released loader answers, so that the number quoted here is the number a user gets.
    """
    answer = loader.SelectionFunction(table).completeness(
        theta_e_arcsec=theta_e_arcsec,
        psf_fwhm_arcsec=psf_fwhm_arcsec,
        depth_mag=depth_mag,
        threshold=threshold,
        detector=detector,
        outside="nan",
    )
    return {"value": float(answer.value), "lower": float(answer.lower), "upper": float(answer.upper)}


def loader_source() -> bytes:
    """Return the self-contained loader file."""
    return Path(loader.__file__).read_bytes()


def metadata_bytes(
    title: str,
    reference_threshold: str,
    verdicts: dict[str, str],
    digests: dict[str, str],
    grid: GridSettings,
    facts: dict[str, Any],
) -> bytes:
    """Return `release.json`: what the tables mean, what they were made from and what the gates said."""
    content = {
        "schema_version": loader.SCHEMA_VERSION,
        "title": title,
        "reference_threshold": reference_threshold,
        "verdicts": verdicts,
        "digests": digests,
        "grid": {"name": grid.name, "digest": grid.digest, "band": CONDITION_BAND, "depth": DEPTH_DEFINITION},
        "facts": facts,
    }
    return json.dumps(content, indent=2, sort_keys=True).encode()


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table as Parquet, without the writer's pandas metadata."""
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def fits_bytes(grid: pd.DataFrame, marginals: pd.DataFrame, floor: pd.DataFrame, header: dict[str, str]) -> bytes:
    """Return a FITS file with HDUs GRID, MARGINALS and FLOOR, one binary table each, and `header` in the primary.

    Units are in TUNITn. Header values longer than a card are continued (CONTINUE convention).
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for key, value in header.items():
        primary.header[key] = value
    hdus: list[Any] = [primary]
    for name, frame in (("GRID", grid), ("MARGINALS", marginals), ("FLOOR", floor)):
        hdus.append(_table_hdu(frame, name))
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def _table_hdu(frame: pd.DataFrame, name: str) -> Any:
    from astropy.io import fits

    columns = []
    for label in frame.columns:
        values = frame[label].to_numpy()
        if values.dtype.kind in "OU" or isinstance(frame[label].dtype, pd.StringDtype):
            values = frame[label].fillna("").to_numpy(dtype=str)
            columns.append(fits.Column(name=label, format=f"{max(1, values.dtype.itemsize // 4)}A", array=values))
            continue
        code = {"b": "L", "i": "K", "u": "K", "f": "D"}[values.dtype.kind]
        columns.append(fits.Column(name=label, format=code, unit=FITS_UNITS.get(label), array=values))
    return fits.BinTableHDU.from_columns(columns, name=name)


def released_injections(
    trials: pd.DataFrame, injections: pd.DataFrame, scores: pd.DataFrame, detector: str
) -> pd.DataFrame:
    """Return all injections of one detector with both scores; `is_trial` marks those in the denominator."""
    table = injections.merge(scores, on="injection_id", how="left", sort=True)
    table.insert(0, "detector", detector)
    table["is_trial"] = table["injection_id"].isin(set(trials["injection_id"]))
    return table


def citation() -> bytes:
    """Return CITATION.cff (Citation File Format 1.2.0)."""
    return (
        "cff-version: 1.2.0\n"
        "message: If you use this selection function, please cite it and state the digests in release.json.\n"
        "title: Selection function of a strong-lens finder in DESI Legacy Imaging Surveys DR10\n"
        "type: dataset\n"
        "authors:\n"
        f"  - name: {SCIENCE_PACKAGE} contributors\n"
    ).encode()


def model_card(
    title: str,
    quoted: pd.DataFrame,
    verdicts: dict[str, str],
    facts: dict[str, Any],
    digests: dict[str, str],
    waivers: list[str],
) -> bytes:
    """Return the model card in Markdown: what the number is, for which population, with which evidence."""
    lines = [
        f"# {title}",
        "",
        "## What it is",
        "",
        "The fraction of lenses that the detector finds, C(theta_E, PSF FWHM, depth): an arc is detected when host + "
        "arc reaches the threshold and the host alone does not. "
        f"Conditions are the r-band PSFSIZE (FWHM, arcsec) and {DEPTH_DEFINITION}.",
        "",
        "## Quoted numbers",
        "",
        *_markdown_table(quoted),
        "",
        "## Verdicts",
        "",
        *[f"- {gate}: {verdict}" for gate, verdict in verdicts.items()],
        *[f"- accepted with a reason: {waiver}" for waiver in waivers],
        "",
        "## Whom it averages over",
        "",
        *[f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()],
        "",
        "## How to use it",
        "",
        "```python",
        "from selection_function import load",
        'sf = load(".")',
        "sf.completeness(theta_e_arcsec=1.5, psf_fwhm_arcsec=1.3, depth_mag=24.5)",
        "```",
        "",
        f"`{LOADER_FILE}` needs numpy, pandas and pyarrow. Files: `{loader.GRID_FILE}` "
        f"(one row a detector, threshold and cell), `{loader.INJECTIONS_FILE}` (every injection, with draw density "
        f"and both scores), `marginals.parquet`, `floor.parquet`, `{FITS_FILE}` (HDUs GRID, MARGINALS, FLOOR; units "
        f"in TUNIT), `{loader.METADATA_FILE}`.",
        "",
        "## Limits",
        "",
        "- Outside the grid, and where a cell has too few injections or hosts, there is no number; nothing is clamped.",
        "- Injections are not lenses: C holds for the stated priors. `reweight` gives it for another population, "
        "with the effective number of injections that remain.",
        "- Injected arcs sit on catalogued galaxies whose stamp passed quality; what the parent selection loses before "
        "scoring is not in C.",
        "",
        "## Made from",
        "",
        *[f"- {name}: `{digest}`" for name, digest in digests.items()],
        "",
    ]
    return "\n".join(lines).encode()


def _markdown_table(frame: pd.DataFrame) -> list[str]:
    rows = [list(frame.columns), ["---"] * len(frame.columns)]
    rows += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
