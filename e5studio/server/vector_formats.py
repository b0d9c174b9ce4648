"""Vectors as an answer holds them: dimensions cut, normalised, quantised, as base64. Pure functions over arrays.

Quantised vectors are made of unit vectors:

- int8: `round(127 x / r)` with `r = 4 / sqrt(n)` for n dimensions, cut to -127..127; uint8: the same plus 128.
  The range is fixed, so that vectors of different requests may be compared by their products.
- ubinary: the signs, eight to a byte, first dimension in the highest bit, 1 where `x >= 0`; binary: the same minus 128.
"""

from __future__ import annotations

import base64
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray

Precision = Literal["float", "int8", "uint8", "binary", "ubinary"]

_RANGE = 4.0
_LARGEST = 127


def finished(vectors: FloatArray, *, dimensions: int | None = None, normalize: bool = True) -> FloatArray:
    """The vectors of the engine, cut to their first `dimensions` and scaled to length 1, as `E5Encoder` does it."""
    cut = vectors[:, :dimensions]
    if not normalize:
        return np.ascontiguousarray(cut)
    unit: FloatArray = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit


def quantized(vectors: FloatArray, precision: Precision) -> NDArray[Any]:
    """Unit vectors in fewer bits, (n, dim), or (n, dim / 8) for binary ones; float ones as they are."""
    if precision == "float":
        return vectors
    if precision in ("binary", "ubinary"):
        packed: NDArray[np.uint8] = np.packbits(vectors >= 0, axis=1)
        return packed if precision == "ubinary" else _less_128(packed)
    scale = _LARGEST * math.sqrt(vectors.shape[1]) / _RANGE
    levels: NDArray[np.int8] = np.clip(np.rint(vectors * scale), -_LARGEST, _LARGEST).astype(np.int8)
    return levels if precision == "int8" else levels.view(np.uint8) ^ 128


def _less_128(numbers: NDArray[np.uint8]) -> NDArray[np.int8]:
    less: NDArray[np.int8] = (numbers ^ 128).view(np.int8)
    return less


def as_base64(rows: NDArray[Any]) -> list[str]:
    """Each row's bytes, little-endian, as base64."""
    return [base64.b64encode(row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes()).decode() for row in rows]
