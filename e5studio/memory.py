"""How much memory is free for a model, and whether the model fits; checked before anything is allocated."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e5studio.errors import E5StudioError, OutOfMemoryError

BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
_ROOM_FOR_WORK = 300_000_000  # activations of one small batch, and the libraries themselves

# As torch (on Windows, Linux and a GPU), oneDNN inside it, OpenVINO, ONNX Runtime, the C++ library, the system and its
# loader of shared libraries put it.
_NO_MEMORY = (
    "not enough memory",
    "can't alloc",
    "cannot allocate memory",
    "failed to map segment",
    "out of memory",
    "could not create a primitive",
    "failed to allocate",
    "bad_alloc",
    "resource temporarily unavailable",  # for the stack of a thread
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine failed for want of memory; each says so in words of its own."""
    if isinstance(error, E5StudioError):
        return False
    text = str(error).casefold()
    if "static tls" in text:  # a fixed table of the loader, whatever memory is free
        return False
    return isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY)


@contextmanager
def memory_errors_as_one() -> Iterator[None]:
    """Raise an engine's or the system's own error for want of memory as `OutOfMemoryError`.

    Raises:
        OutOfMemoryError: With the limit on the process, if it has one.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise too_little_memory() from error
        raise


def too_little_memory() -> OutOfMemoryError:
    """The error for memory that ran out where nobody can say how much was needed."""
    return OutOfMemoryError(
        "There is too little memory.", f"{_limit_sentence()}Take a smaller model or a machine with more memory."
    )


def available_bytes() -> int | None:
    """Main memory that is free for this process, within a container's limit; None where unknown."""
    limits = [limit for limit in (_free_memory(), _container_memory(), _free_address_space()) if limit is not None]
    return min(limits) if limits else None


def check_fits(name: str, n_parameters: int, dtype: str, available: int | None) -> None:
    """Refuse a model that would not fit.

    Args:
        name: For the message.
        n_parameters: Number of weights.
        dtype: Precision in which the weights are read: "float32", "bfloat16" or "float16".
        available: Free bytes; None where unknown, which refuses nothing.

    Raises:
        OutOfMemoryError: With both sizes, and the precision that would fit.
    """
    needed = n_parameters * BYTES_PER_WEIGHT[dtype] + _ROOM_FOR_WORK
    if available is None or needed <= available:
        return
    half = n_parameters * 2 + _ROOM_FOR_WORK
    advice = (
        "With backend='torch' and dtype='bfloat16' it would fit."
        if dtype == "float32" and half <= available
        else "No precision fits: take a smaller model or a machine with more memory."
    )
    raise OutOfMemoryError(
        f"{name} needs {needed / 1e9:.1f} GB of memory in {dtype}, and {max(available, 0) / 1e9:.1f} GB are free.",
        f"{_limit_sentence()}{advice}",
    )


def _limit_sentence() -> str:
    limit = _address_space_limit()
    return f"Address space is limited to {limit / 1e9:.1f} GB here (ulimit -v). " if limit else ""


def _address_space_limit() -> int | None:
    """Bytes of address space that this process may take, as `ulimit -v` and the queues of clusters set it."""
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _free_address_space() -> int | None:
    limit = _address_space_limit()
    if limit is None:
        return None
    try:
        n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return limit
    return limit - n_pages * os.sysconf("SC_PAGE_SIZE")


def _free_memory() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _container_memory(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    for folder, limit, usage, cache in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            used = int((folder / usage).read_text())
            # The page cache counts as used, but is freed when something needs the memory.
            cached = next(line for line in (folder / "memory.stat").read_text().splitlines() if line.startswith(cache))
            return int((folder / limit).read_text()) - used + int(cached.split()[1])
        except (OSError, ValueError, StopIteration):  # no such file, or "max"
            continue
    return None
