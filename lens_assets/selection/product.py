"""The release as files: tables, FITS copy, metadata, model card, citation and the loader that reads them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.campaign.stages.selection_function import CONDITION_BAND, DEPTH_DEFINITION, GridSettings
from lens_assets.selection import loader
from lens_assets.selection.closure import CLOSURE_COLUMNS
from lens_assets.selection.completeness import COMPLETENESS_COLUMNS
from lens_assets.selection.footprint import FOOTPRINT_COLUMNS
from lens_assets.selection.marginals import FLOOR_COLUMNS, MARGINAL_COLUMNS
from lens_assets.selection.merging import MERGED_COLUMNS
from lens_assets.selection.models import MODEL_COLUMNS
from lens_assets.selection.stability import COLUMNS as SENSITIVITY_COLUMNS

LOADER_FILE = "selection_function.py"
FITS_FILE = "grid.fits"
MODEL_CARD_FILE = "model_card.md"
CITATION_FILE = "CITATION.cff"
TABLE_FILES = {
    "grid": loader.GRID_FILE,
    "merged": loader.MERGED_FILE,
    "models": loader.MODELS_FILE,
    "marginals": loader.MARGINALS_FILE,
    "floor": "floor.parquet",
    "footprint": "footprint.parquet",
    "sensitivity": "sensitivity.parquet",
    "closure": "closure.parquet",
}
FITS_TABLES = {
    "grid": "one row a detector, threshold and cell of the grid",
    "merged": "the same cells, weak ones with the number of their merged group",
    "models": "the same cells under the model named in column model: no counts",
    "marginals": "completeness along one axis; column weights says how trials weigh",
    "floor": "share of hosts that pass without an arc",
    "footprint": "share of the footprint in each (PSF, depth) condition of each named grid",
    "sensitivity": "shift of completeness under other priors and calibrations, over the sky, between detectors",
    "closure": "bias of the predicted recall of true lenses, where the campaign is simulated",
}
SCIENCE_PACKAGE = "lens_assets"

SHARED_COLUMNS = {"detector": "frozen detector", **COMPLETENESS_COLUMNS}
OWN_COLUMNS: dict[str, Mapping[str, str]] = {
    "merged": MERGED_COLUMNS,
    "models": MODEL_COLUMNS,
    "marginals": MARGINAL_COLUMNS,
    "floor": FLOOR_COLUMNS,
    "footprint": FOOTPRINT_COLUMNS,
    "sensitivity": SENSITIVITY_COLUMNS,
    "closure": CLOSURE_COLUMNS,
}
"""What the columns of each table mean, beside those that it shares with the grid."""

# Units of the FITS columns, in the FITS standard's spelling (section 4.3).
FITS_UNITS = {"theta_e_arcsec": "arcsec", "psf_fwhm_arcsec": "arcsec", "depth_mag": "mag"}


@dataclass(frozen=True)
class Documents:
    """What the model card and `release.json` state."""

    title: str
    reference_threshold: str
    verdicts: Mapping[str, str]
    digests: Mapping[str, str]
    identity: Mapping[str, Any]
    facts: Mapping[str, Any]
    waivers: list[str] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the release's tables by name of the file."""


def completeness_at(
    table: pd.DataFrame,
    theta_e_arcsec: float,
    psf_fwhm_arcsec: float,
    depth_mag: float,
    threshold: str,
    detector: str,
    interval: str = "conditional",
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
        interval=interval,
    )
    return {"value": float(answer.value), "lower": float(answer.lower), "upper": float(answer.upper)}


def loader_source() -> bytes:
    """Return the self-contained loader file."""
    return Path(loader.__file__).read_bytes()


def release_tables(tables: Mapping[str, pd.DataFrame], injections: pd.DataFrame) -> dict[str, bytes]:
    """Return the Parquet files of a release by name."""
    files = {TABLE_FILES[name]: parquet_bytes(frame) for name, frame in tables.items()}
    return files | {loader.INJECTIONS_FILE: parquet_bytes(injections)}


def checksums(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 (hexadecimal) of each file's content by its name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def release_documents(documents: Documents, grid: GridSettings, quoted: pd.DataFrame) -> dict[str, bytes]:
    """Return model card, metadata, citation and loader by name."""
    return {
        loader.METADATA_FILE: metadata_bytes(documents, grid),
        MODEL_CARD_FILE: model_card(documents, quoted),
        CITATION_FILE: citation(),
        LOADER_FILE: loader_source(),
    }


def metadata_bytes(documents: Documents, grid: GridSettings) -> bytes:
    """Return `release.json`: what the tables mean, what they were made from and what the gates said."""
    content = {
        "schema_version": loader.SCHEMA_VERSION,
        "title": documents.title,
        "reference_threshold": documents.reference_threshold,
        "verdicts": dict(documents.verdicts),
        "digests": dict(documents.digests),
        "identity": dict(documents.identity),
        "grid": {"name": grid.name, "digest": grid.digest, "band": CONDITION_BAND, "depth": DEPTH_DEFINITION},
        "facts": dict(documents.facts),
        "files": dict(documents.files),
    }
    return json.dumps(content, indent=2, sort_keys=True).encode()


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table as Parquet, without the writer's pandas metadata."""
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def fits_bytes(tables: Mapping[str, pd.DataFrame], header: Mapping[str, str]) -> bytes:
    """Return a FITS file with one binary table HDU a table, named as it (GRID, MERGED, ...), `header` in the primary.

    Units are in TUNITn, meanings in TCOMMn; a comment in the primary header says what each HDU holds. Header values
    longer than a card are continued (CONTINUE convention).
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for key, value in header.items():
        primary.header[key] = value
    hdus: list[Any] = [primary]
    for name in (name for name in FITS_TABLES if name in tables):
        primary.header.add_comment(f"HDU {name.upper()}: {FITS_TABLES[name]}")
        hdus.append(_table_hdu(tables[name], name.upper()))
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
        columns.append(fits.Column(name=label, format=code, unit=FITS_UNITS.get(str(label)), array=values))
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    for number, label in enumerate(frame.columns, start=1):
        meaning = OWN_COLUMNS.get(name.lower(), {}).get(str(label)) or SHARED_COLUMNS.get(str(label))
        if meaning:
            hdu.header[f"TCOMM{number}"] = meaning
    return hdu


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


def model_card(documents: Documents, quoted: pd.DataFrame) -> bytes:
    """Return the model card in Markdown: what the number is, for which population, with which evidence."""
    lines = [
        f"# {documents.title}",
        "",
        "## What it is",
        "",
        "The fraction of lenses that the detector finds, C(theta_E, PSF FWHM, depth): an arc is detected when host + "
        "arc reaches the threshold and the host alone does not. "
        f"Conditions are the r-band PSFSIZE (FWHM, arcsec) and {DEPTH_DEFINITION}.",
        "",
        "## Quoted numbers",
        "",
        "Limits are 95%: `lower` and `upper` at the threshold as it is, `total_lower` and `total_upper` with the "
        "uncertainty of a threshold that validation objects define, and with sky that trials share. Where "
        "`threshold_sufficient` is False too few validation objects lie above the threshold to define it.",
        "",
        *_markdown_table(quoted),
        "",
        "## Verdicts",
        "",
        *[f"- {gate}: {verdict}" for gate, verdict in documents.verdicts.items()],
        *[f"- unstable and accepted with a reason: {waiver}" for waiver in documents.waivers],
        "",
        "## Whom it averages over",
        "",
        *[f"- {name.replace('_', ' ')}: {value}" for name, value in documents.facts.items()],
        "",
        "## How to use it",
        "",
        "```python",
        "from selection_function import load",
        'sf = load(".")',
        "sf.completeness(theta_e_arcsec=1.5, psf_fwhm_arcsec=1.3, depth_mag=24.5)",
        "```",
        "",
        f"`{LOADER_FILE}` needs numpy, pandas and pyarrow. It also has `reweight` (another lens population), "
        "`expected_counts` (a forecast), `corrected_distribution` (found Einstein radii to those of all lenses) and "
        "`compare` (another release of the same grid, prior and threshold).",
        "",
        "| file | holds |",
        "|---|---|",
        *[f"| `{file}` | {FITS_TABLES[name]} |" for name, file in TABLE_FILES.items() if name != "models"],
        f"| `{loader.INJECTIONS_FILE}` | every injection: truth, draw density, both scores, flags |",
        f"| `{FITS_FILE}` | these tables as HDUs, names in capitals; units in TUNIT, meanings in TCOMM |",
        f"| `{loader.METADATA_FILE}` | verdicts, digests, grid, identity, SHA-256 of the tables |",
        "| `figures/` | completeness maps, marginals, what the realism battery compared |",
        "",
        "## Limits",
        "",
        "- Outside the grid, and where a cell has too few injections or hosts, there is no number; nothing is clamped.",
        "- Injections are not lenses: C holds for the stated priors. `reweight` gives it for another population, "
        "with the effective number of injections that remain.",
        "- Where all hosts of a cell agree, the bootstraps have no width (`bootstrap_degenerate`), and where few "
        "passed (failed) they reach 0 (1); limits then come from the Beta posterior.",
        "- `reweight` counts conditions by their injections per cell, not by their share of the footprint.",
        "- Injected arcs sit on catalogued galaxies whose stamp passed quality; what the parent selection loses before "
        "scoring is not in C.",
        "",
        "## Made from",
        "",
        *[f"- {name}: `{digest}`" for name, digest in documents.digests.items()],
        *[f"- {name}: `{value}`" for name, value in documents.identity.items() if name == "prior"],
        "",
    ]
    return "\n".join(lines).encode()


def _markdown_table(frame: pd.DataFrame) -> list[str]:
    rows = [list(frame.columns), ["---"] * len(frame.columns)]
    rows += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
