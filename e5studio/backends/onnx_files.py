"""The graphs in a repository's onnx/ folder: which may be used, judged by their bytes.

No graph is loaded here, and neither ONNX Runtime nor the onnx package is needed.
"""

from __future__ import annotations

import mmap
import platform
import re
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from e5studio.checkpoint import weight_files

_LAYER = re.compile(r"\blayers?\.(\d+)\.")
_QUANTIZING = (b"DynamicQuantize", b"MatMulInteger")  # beginnings of the names of the operations


def published(folder: Path) -> Path | None:
    """The repository's graph in float32, where it has one.

    model_O4.onnx, which many repositories have, is for GPUs: it computes partly in float16. A CPU emulates that,
    which is slower than float32 and 3e-4 off.
    """
    path = folder / "onnx" / "model.onnx"
    return path if path.is_file() else None


def may_overflow() -> bool:
    """Whether sums of two products of 8-bit integers may overflow on this processor."""
    return platform.machine().lower() in ("x86_64", "amd64") and not _has_vnni()


def files_of(path: Path) -> list[Path]:
    """A graph's file and the files beside it with weights beyond its limit of 2 GB."""
    return [path, *sorted(other for other in path.parent.glob(f"{path.name}?data*") if other.is_file())]


def quantizes_activations(path: Path) -> bool:
    """Whether a graph chooses the scale of its activations anew for each batch."""
    return any(_contains(path, name) for name in _QUANTIZING)


def holds_weights_of(path: Path, folder: Path) -> bool:
    """Whether a graph was made from the weights in the folder.

    A model that was trained further may still have the old graph beside it. The last layer is compared, which any
    training moves: a row of each of its matrices (a column where the exporter transposed it), since low-rank training
    may move one kind alone, and all of each vector.
    """
    try:
        tensors = _last_layer(folder)
    except (ValueError, TypeError, OSError, safetensors.SafetensorError):  # numpy has no bfloat16, for one
        return False
    samples = [[each[0], each[:, 0]] if each.ndim == 2 else [each] for each in tensors]
    files = files_of(path)
    return bool(samples) and all(
        any(_contains(file, row.tobytes()) for row in rows for file in files) for rows in samples
    )


def _has_vnni() -> bool:
    """Whether the processor multiplies 8-bit integers without overflow, as far as the system says."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _last_layer(folder: Path) -> list[NDArray[np.float32]]:
    files = {name: file for file in weight_files(folder) for name in _names(folder / file)}
    last = max(map(_layer, files))
    return [_read(folder / file, name) for name, file in files.items() if _layer(name) == last >= 0]


def _layer(name: str) -> int:
    match = _LAYER.search(name)
    return int(match[1]) if match else -1


def _names(path: Path) -> list[str]:
    with safetensors.safe_open(path, "numpy") as file:
        return list(file.keys())


def _read(path: Path, name: str) -> NDArray[np.float32]:
    with safetensors.safe_open(path, "numpy") as file:
        return np.asarray(file.get_tensor(name), np.float32)


def _contains(path: Path, needle: bytes) -> bool:
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # cannot be mapped
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(needle) >= 0
