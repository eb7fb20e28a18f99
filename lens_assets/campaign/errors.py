"""What a campaign that cannot be loaded says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault of a campaign: where it stands, what was found and what was expected.

    A rule over several keys names them, what they say and what was expected in its own words: `found` is then empty.
    """

    file: str
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}: " if self.key else f"{self.file}: "
        return f"{place}found {self.found}; expected {self.expected}" if self.found else f"{place}{self.expected}"


class CampaignError(ValueError):
    """A campaign was refused. `problems` lists every fault that was found, not the first only."""

    def __init__(self, campaign: str, problems: list[Problem]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"campaign {campaign} cannot be used, {len(problems)} problem(s):\n{lines}")
