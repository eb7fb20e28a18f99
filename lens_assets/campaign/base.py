"""The base of every settings model: strict, frozen, documented. The stages themselves live in `stages/`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A group of settings of a campaign.

    Unknown keys are refused, numbers are not coerced from text, and values cannot change after loading,
    so that the hash of a campaign always describes what ran.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)

    @property
    def files_of_your_own(self) -> tuple[str, ...]:
        """Files that these settings name, relative to the campaign's folder, whose content is part of the digest."""
        return ()


def setting(description: str, unit: str = "", **constraints: Any) -> Any:
    """Return a required field with its one-line meaning and its unit; `constraints` go to `pydantic.Field`."""
    return Field(description=description, json_schema_extra={"unit": unit}, **constraints)
