"""What can be wrong with a stored detector, in a module that imports no network library."""

from __future__ import annotations


class DetectorError(ValueError):
    """A stored detector is damaged or not a detector; the message names the file and what to do."""
