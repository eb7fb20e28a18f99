"""The sidecar of a stored asset partition: what it holds, what it was made from, and its content digest."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from lens_assets.digests import content_digest

FORMAT_VERSION = 1


class Provenance(BaseModel):
    """Everything a stored partition was made from.

    `settings` maps a stage to the digest of its YAML content, `upstream` an input (`asset`, `asset/partition` or
    `file/name` of one outside the lake) to the digest of what was read. Two equal provenances mean equal bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_version: str
    settings: dict[str, str]
    upstream: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of this provenance."""
        return content_digest(self.model_dump())


class StoredFile(BaseModel):
    """One file of a partition: its name inside the partition, its size in bytes and its SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: int
    sha256: str


class Record(BaseModel):
    """The sidecar written last, which makes a partition visible.

    `digest` covers the table without its volatile columns and every file but the figures; it holds no
    clock time, run id, commit or path. `written_at` and `run_id` are for people and are in no digest.
    What is `provisional` lacks something outside the lake that was set aside; it is made anew whenever it is asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT_VERSION
    asset: str
    partition: str
    generation: str
    rows: int | None
    digest: str
    provenance: Provenance
    files: tuple[StoredFile, ...]
    summary: dict[str, Any]
    written_at: str
    run_id: str
    provisional: bool = False


def combined_digest(digests: dict[str, str]) -> str:
    """Return one digest for a set of named digests, independent of their order."""
    return content_digest(digests)
