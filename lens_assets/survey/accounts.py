"""What became of every row of a sweep file: each is kept, or counted under the first reason that drops it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OK, QUARANTINED = "ok", "quarantined"
ADDENDS = ("not_primary", "malformed", "outside", "no_flux_z", "faint", "duplicate", "kept")
"""The counts whose sum is `rows_read`."""


@dataclass
class FileAccount:
    """What became of the rows of one file: rows_read is the sum of not_primary to kept.

    A quarantined file keeps no row: what was read before its fault showed is not used. `detail` says why a file is
    quarantined, or what was wrong with its malformed rows and with which row first. With a faint limit, rows without
    a positive FLUX_Z have no magnitude to compare: they are `no_flux_z`, not `faint`.
    """

    sweep_file: str
    status: str = OK
    reason: str = ""
    detail: str = ""
    rows_read: int = 0
    not_primary: int = 0
    malformed: int = 0
    outside: int = 0
    no_flux_z: int = 0
    faint: int = 0
    duplicate: int = 0
    kept: int = 0
    kept_in_margin: int = 0

    @classmethod
    def quarantined(cls, sweep_file: str, reason: str, detail: str) -> FileAccount:
        """Return the account of a file that cannot be used."""
        return cls(sweep_file, QUARANTINED, reason, detail)

    @property
    def is_ok(self) -> bool:
        """Whether the file could be read to its end."""
        return self.status == OK

    def drop_in_order(self, dropped: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Count the rows of a chunk under the first reason that drops them; return True for those that remain."""
        remaining = ~np.zeros_like(next(iter(dropped.values())))
        self.rows_read += len(remaining)
        for reason, rows in dropped.items():
            setattr(self, reason, getattr(self, reason) + int((remaining & rows).sum()))
            remaining &= ~rows
        return remaining

    def note_malformed(self, row_index: NDArray[np.int64], faults: Mapping[str, NDArray[np.bool_]]) -> None:
        """Add to `detail` the first row of each fault that the file has not shown before."""
        for fault, rows in faults.items():
            if rows.any() and fault not in self.detail:
                text = f"row {int(row_index[np.argmax(rows)])}: {fault}"
                self.detail = f"{self.detail}; {text}" if self.detail else text


def accounts_frame(accounts: Iterable[FileAccount]) -> pd.DataFrame:
    """Return the accounts as a table, one row a file, sorted by file name.

    `unaccounted` is what is left of rows_read when every count is taken off, and has to be 0.
    """
    kinds = {item.name: "int64" if item.type == "int" else "str" for item in fields(FileAccount)}
    frame = pd.DataFrame([asdict(account) for account in accounts], columns=list(kinds))
    frame = frame.astype(kinds).sort_values("sweep_file", kind="stable").reset_index(drop=True)
    return frame.assign(unaccounted=frame["rows_read"] - frame[list(ADDENDS)].sum(axis=1))
