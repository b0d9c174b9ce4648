"""Proof that an engine wrote what it returns: a number that no computation gives, put into the output before each run.

An engine that fails without saying so would otherwise leave the vectors of the batch before, those of other texts.
"""

from __future__ import annotations

import numpy as np

from e5studio.errors import BackendError
from e5studio.similarity import FloatArray

_POISON = np.uint32(0x7FC5E5E5)  # a NaN; arithmetic gives others


def poisoned(shape: tuple[int, ...]) -> FloatArray:
    """An array to be written to."""
    return np.full(shape, _POISON).view(np.float32)


def check_written(output: FloatArray, engine: str) -> None:
    """Refuse an array from `poisoned` of which some numbers were not written.

    Raises:
        BackendError: There are some.
    """
    if (output.view(np.uint32) == _POISON).any():
        raise BackendError(
            f"{engine} returned without an error before it had computed all vectors.",
            "Try again; if it happens again, take backend='torch'.",
        )
