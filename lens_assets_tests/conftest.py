"""Settings of all tests: no deadlines, since these measure results and never time, and plots without a screen."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")
