"""The graphs that a repository brings in its onnx/ folder: which may serve, and what their bytes tell of them.

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

    model_O4.onnx, which many repositories have, is for GPUs: in places it computes in float16. A CPU has to
    emulate that, which makes it 3e-4 wrong and slower than float32.
    """
    path = folder / "onnx" / "model.onnx"
    return path if path.is_file() else None


def may_overflow() -> bool:
    """Whether sums of two products of 8-bit integers may overflow on this processor."""
    return platform.machine().lower() in ("x86_64", "amd64") and not _has_vnni()


def files_of(path: Path) -> list[Path]:
    """A graph's file and those beside it that hold weights which it has no room for (over 2 GB)."""
    return [path, *sorted(other for other in path.parent.glob(f"{path.name}?data*") if other.is_file())]


def quantizes_activations(path: Path) -> bool:
    """Whether a graph chooses the scale of its activations anew for each batch."""
    return any(_contains(path, name) for name in _QUANTIZING)


def holds_weights_of(path: Path, folder: Path) -> bool:
    """Whether a graph was made from the weights that lie in the folder.

    A model that was trained further may still have the graph of the old one beside it. Told from the last layer,
    which any training moves: a gain, and a row of the matrix of values (a column where the exporter turned it), for
    training of low rank moves that and leaves gains.
    """
    try:
        gain, matrix = _from_last_layer(folder)
    except (ValueError, TypeError, OSError, safetensors.SafetensorError):  # numpy has no bfloat16, for one
        return False
    wanted = [[gain], [matrix[0], matrix[:, 0]]]
    files = files_of(path)
    return all(any(_contains(file, row.tobytes()) for row in rows for file in files) for rows in wanted)


def _has_vnni() -> bool:
    """Whether the processor multiplies 8-bit integers without overflow, as far as the system tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _from_last_layer(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A gain of the highest layer, and its matrix of values."""
    files = {name: file for file in weight_files(folder) for name in _names(folder / file)}
    names = [name for name in sorted(files) if name.endswith(".weight") and _LAYER.search(name)]
    last = max(_layer(name) for name in names)
    gains = [name for name in names if _layer(name) == last and "norm" in name.lower()]
    matrices = [name for name in names if _layer(name) == last and ("value" in name or "v_proj" in name)]
    gain, matrix = (_read(folder / files[each[-1]], each[-1]) for each in (gains, matrices))
    return gain, matrix


def _layer(name: str) -> int:
    found = _LAYER.search(name)
    return int(found[1]) if found else -1


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
