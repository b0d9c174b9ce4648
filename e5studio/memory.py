"""How much memory is free for a model, whether it fits before anything is allocated, and what can be given back."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
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
_NO_ROOM_FOR_THREADS = "static tls"  # whose message speaks of memory, of which more would not help


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine failed for want of memory; each says so in words of its own."""
    if isinstance(error, E5StudioError):
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).casefold()
    return any(words in text for words in _NO_MEMORY) and _NO_ROOM_FOR_THREADS not in text


@contextmanager
def as_out_of_memory(what: str) -> Iterator[None]:
    """Turn the errors of engines for want of memory into one that says what did not fit, and which limit it met.

    Args:
        what: The model or the package that is loaded.

    Raises:
        OutOfMemoryError: There was too little memory.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise too_little_memory(what) from error
        raise


def too_little_memory(what: str = "The work") -> OutOfMemoryError:
    """The error for memory that ran out where nobody can say how much was needed."""
    advice = "Raise the limit, or take a smaller model." if _address_space() else "Take a smaller model."
    return OutOfMemoryError(f"{what} does not fit into memory{_limit_note()}.", advice)


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
        f"{name} needs {needed / 1e9:.1f} GB of memory in {dtype}, and {available / 1e9:.1f} GB are free"
        f"{_limit_note()}.",
        advice,
    )


def unload_mapped(folder: Path, maps: Path = Path("/proc/self/maps")) -> None:
    """Give back the memory of files below a folder that are mapped to be read; what is read again comes back.

    Where the system has no such list (it is Linux's), it does this itself when memory is short.
    """
    if not maps.is_file():
        return
    folder = folder.resolve()  # as the list has it
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        addresses, access, _, _, _, *path = line.split(None, 5)
        if access == "r--s" and path and folder in Path(path[0]).parents:
            start, end = (int(address, 16) for address in addresses.split("-"))
            advise(start, end - start, mmap.MADV_DONTNEED)


def _limit_note() -> str:
    limit = _address_space()
    return "" if limit is None else f" (the address space is limited to {limit / 1e9:.1f} GB: ulimit -v)"


def _address_space() -> int | None:
    """The most bytes that this process may map; None where that is not limited."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _free_address_space() -> int | None:
    limit, statm = _address_space(), Path("/proc/self/statm")
    if limit is None or not statm.is_file():
        return limit
    return max(0, limit - int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE"))


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
