"""The graphs in a repository's onnx/ folder: which may be used, judged by their bytes.

No graph is loaded here, and neither ONNX Runtime nor the onnx package is needed.
"""

from __future__ import annotations

import hashlib
import mmap
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from e5studio.checkpoint import weight_files
from e5studio.file_digest import sha256_of

_WORDS = ("word_embeddings.weight", "embed_tokens.weight")  # ends of the names of the table
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


def digest(path: Path) -> str:
    """A digest of a graph's files."""
    return hashlib.sha256("".join(map(sha256_of, files_of(path))).encode()).hexdigest()[:32]


def holds_words_of(path: Path, folder: Path) -> bool:
    """Whether a graph has the vectors of words that the weights in the folder have, all of them.

    Whether the rest computes the same shows on a few texts, which have few of the words.
    """
    try:
        table = _words(folder)
    except (ValueError, TypeError, OSError, safetensors.SafetensorError):  # numpy has no bfloat16, for one
        return False
    return any(_contains_table(file, table) for file in files_of(path))


def _has_vnni() -> bool:
    """Whether the processor multiplies 8-bit integers without overflow, as far as the system says."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _words(folder: Path) -> NDArray[np.float32]:
    for file in weight_files(folder):
        with safetensors.safe_open(folder / file, "numpy") as weights:
            for name in weights.keys():
                if name.endswith(_WORDS):
                    return np.ascontiguousarray(weights.get_tensor(name), np.float32)
    raise ValueError(f"no table of words in {folder}")


def _contains_table(path: Path, table: NDArray[np.float32]) -> bool:
    row = len(table) // 2  # the first ones may be zeros, which are everywhere
    needle, before = table[row].tobytes(), table[:row].nbytes
    with _mapped(path) as content:
        at = content.find(needle)
        while at >= 0:
            candidate = np.frombuffer(content[max(at - before, 0) : at - before + table.nbytes], np.uint8)
            if at >= before and np.array_equal(candidate, table.view(np.uint8).ravel()):
                return True
            at = content.find(needle, at + 1)
    return False


def _contains(path: Path, needle: bytes) -> bool:
    with _mapped(path) as content:
        return content.find(needle) >= 0


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
