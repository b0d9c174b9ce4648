"""The weights of a folder as arrays that lie in its files until they are read; see `checkpoint` for their checks.

An array keeps the number format of its file, which its dtype tells, and `as_float32` converts as much of it as is
needed: a row of an embedding table, or a matrix.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.checkpoint import tensor_entries, weight_files
from e5studio.errors import ModelFilesError
from e5studio.similarity import FloatArray

StoredArray = NDArray[Any]

_BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # numpy has none: the upper half of a float32
_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": _BFLOAT16}


def stored_arrays(folder: Path) -> dict[str, StoredArray]:
    """All weights of a folder by their names in its files, mapped into memory.

    Those of formats that `is_float` does not know, such as a buffer of position numbers, come as bytes.

    Raises:
        ModelFilesError: A file is damaged.
    """
    arrays: dict[str, StoredArray] = {}
    for name in weight_files(folder):
        path = folder / name
        content = np.memmap(path, np.uint8, "r").view(np.ndarray)
        start, entries = tensor_entries(path)
        for tensor, entry in entries.items():
            first, end = (start + offset for offset in entry["data_offsets"])
            dtype = _DTYPES.get(entry["dtype"])
            arrays[tensor] = (
                content[first:end] if dtype is None else _array(content[first:end], dtype, entry["shape"], path)
            )
    return arrays


def is_float(stored: StoredArray) -> bool:
    """Whether `as_float32` can read an array."""
    return stored.dtype in _DTYPES.values()


def as_float32(stored: StoredArray) -> FloatArray:
    """The same numbers, of which float32 holds all exactly, in memory of their own."""
    if stored.dtype == _BFLOAT16:
        return (stored["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def _array(content: NDArray[np.uint8], dtype: np.dtype[Any], shape: list[int], path: Path) -> StoredArray:
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ModelFilesError(f"{path} is damaged: its header contradicts itself.", "Delete it and fetch it again.")
    return content.view(dtype).reshape(shape)
