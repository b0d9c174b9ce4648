"""Vectors whose map is known."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def clusters() -> np.ndarray:
    """Four well separated clusters of 30, cosines between 0.6 and 1 as E5 gives them."""
    rng = np.random.default_rng(0)
    centres = 1 + 0.6 * rng.standard_normal((4, 32))
    rows = np.repeat(centres, 30, axis=0) + 0.15 * rng.standard_normal((120, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
