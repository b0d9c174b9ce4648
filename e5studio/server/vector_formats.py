"""Vectors as an answer holds them: dimensions cut, normalised, quantised, as base64. Pure functions over arrays.

int8 and uint8 have a fixed range, so that vectors of different requests may be compared.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.quantization import PRECISIONS, Precision, Ranges, quantize
from e5studio.similarity import FloatArray

ELEMENT_TYPES: dict[str, Precision] = {"float": "float32", **{each: each for each in PRECISIONS if each != "float32"}}
"""What clients call the precisions."""


def finished(vectors: FloatArray, *, dimensions: int | None = None, normalize: bool = True) -> FloatArray:
    """The vectors of the engine, cut to their first `dimensions` and scaled to length 1, as `E5Encoder` does it."""
    cut = vectors[:, :dimensions]
    if not normalize:
        return np.ascontiguousarray(cut)
    unit: FloatArray = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit


def quantized(vectors: FloatArray, element_type: str) -> NDArray[Any]:
    """Unit vectors in one of `ELEMENT_TYPES`; floats of any length as they are."""
    if element_type == "float":
        return vectors
    return quantize(vectors, ELEMENT_TYPES[element_type], Ranges.fixed(vectors.shape[1]))


def as_base64(rows: NDArray[Any]) -> list[str]:
    """Each row's bytes, little-endian, as base64."""
    return [base64.b64encode(row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes()).decode() for row in rows]
