"""Who is who among catalog entries: canonical ids, names and aliases, entries that are one system, redshift text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.sky.matching import groups_within

MAX_REDSHIFT = 10.0
_TENTHS_OF_ARCSEC = 36_000
_NUMBER = re.compile(r"^\s*[~<>]?\s*([0-9]*\.?[0-9]+)\s*(?:\?|\(|\+/-|±|\+-|$)")


def parse_redshift(text: str) -> float:
    """Return the first redshift in a free text, or NaN.

    Lists write several values ("0.49 | 0.49"), doubts ("0.3?"), errors ("0.406+/-0.021"), words ("not measured") and
    sentinels (-99, 0); only a number in (0, 10) counts.
    """
    for part in str(text).split("|"):
        match = _NUMBER.match(part)
        if match and 0.0 < float(match.group(1)) < MAX_REDSHIFT:
            return float(match.group(1))
    return math.nan


def lens_ids(catalog: str, ra_deg: ArrayLike, dec_deg: ArrayLike, names: Sequence[str]) -> list[str]:
    """Return `<catalog>:<ra><dec>`, the position rounded to 0.1 arcsec and written in degrees.

    Entries of one catalog at the same rounded position get /2, /3 and so on in the order of their names.
    """
    ra = np.round(np.mod(np.asarray(ra_deg, float), 360.0) * _TENTHS_OF_ARCSEC) % (360 * _TENTHS_OF_ARCSEC)
    dec = np.round(np.asarray(dec_deg, float) * _TENTHS_OF_ARCSEC)
    base = [
        f"{catalog}:{a / _TENTHS_OF_ARCSEC:09.5f}{d / _TENTHS_OF_ARCSEC + 0.0:+09.5f}"
        for a, d in zip(ra, dec, strict=True)
    ]
    frame = pd.DataFrame({"base": base, "name": list(names)})
    order = frame.sort_values(["base", "name"], kind="stable")
    number = order.groupby("base").cumcount().reindex(frame.index)
    return [text if count == 0 else f"{text}/{count + 1}" for text, count in zip(base, number, strict=True)]


def split_names(text: str) -> list[str]:
    """Return the designations of a name cell, in order, each once; lists join them by " | " and write - for none."""
    parts = (part.strip() for part in text.split("|"))
    return list(dict.fromkeys(part for part in parts if part and part not in ("-", "nan")))


def primary_name(text: str, preferred: re.Pattern[str] | None) -> str:
    """Return the designation that matches the preferred pattern, else the first; "" if there is none."""
    names = split_names(text)
    matching = [name for name in names if preferred is not None and preferred.search(name)]
    return (matching or names or [""])[0]


def joined_aliases(names: Iterable[str], primary: str) -> str:
    """Return all other designations, sorted, joined by " | "."""
    return " | ".join(sorted({part for name in names for part in split_names(name)} - {primary}))


def canonical_of_groups(
    ra_deg: ArrayLike, dec_deg: ArrayLike, rank: NDArray[np.int64], radius_arcsec: float
) -> NDArray[np.int64]:
    """Return for each entry the index of the canonical entry of its system: the one of lowest `rank` (unique).

    Entries are one system when a chain of entries, each no further than the radius from the next, joins them.
    """
    groups = groups_within(ra_deg, dec_deg, radius_arcsec)
    order = np.argsort(rank, kind="stable")
    best = np.full(groups.max(initial=-1) + 1, -1, dtype=np.int64)
    for index in order[::-1]:
        best[groups[index]] = index
    return best[groups]
