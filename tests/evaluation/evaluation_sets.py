"""SciFact and STS Benchmark, which are no part of the project, where they are on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

EVALUATIONS = Path(os.environ.get("E5STUDIO_EVALUATIONS", Path(__file__).parents[3] / "shared" / "data"))

needs_evaluations = pytest.mark.skipif(
    not EVALUATIONS.is_dir(), reason="the evaluation sets are not on this machine (E5STUDIO_EVALUATIONS)"
)
