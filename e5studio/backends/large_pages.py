"""Moves the memory that models work on to large pages, where the system has them; only Linux is asked.

The processor keeps a table of the pages that it used last. Weights and activations of a model are tens of thousands of
small pages, more than it has room for, and to look one up again is slow, most of all on virtual machines. No number
changes, nor how much memory is used.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPPINGS = Path("/proc/self/maps")
_LARGE = 2 << 20
_COLLAPSE = 25  # MADV_COLLAPSE of linux/mman.h, since Linux 6.1
_MOMENTS = (0.5, 2.0, 8.0, 32.0)  # seconds of work: who works longer has more buffers, and more to gain
_SECONDS = 0.3  # for each time; a process may hold much that is not ours


@dataclass
class WorkClock:
    """Moves memory after some seconds of work, and again after more.

    Attributes:
        seconds: How long models have worked in this process.
    """

    seconds: float = 0.0
    _moments: list[float] = field(default_factory=lambda: list(_MOMENTS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: float) -> None:
        """Note work that was done; on some calls, memory is moved."""
        self.seconds += seconds  # two threads may lose a little of it
        if not self._moments or self.seconds < self._moments[0] or not self._lock.acquire(blocking=False):
            return
        try:
            while self._moments and self.seconds >= self._moments[0]:
                del self._moments[0]
            use_large_pages()
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Move nothing any more."""
        self._moments.clear()


clock = WorkClock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=lambda: clock.stop()
    )  # it shares the pages with its parent: each would be copied


def use_large_pages() -> int:
    """Move memory of this process that lies in small pages to large ones, for a moment at most.

    Returns:
        Bytes that lie in large pages now; 0 where there are none.
    """
    library, until = _library(), time.perf_counter() + _SECONDS
    if library is None:
        return 0
    n_bytes = 0
    for start, end in _resident_ranges(library):
        for address in range(start, end, _LARGE):
            if time.perf_counter() > until:
                return n_bytes
            n_bytes += _LARGE if library.madvise(address, _LARGE, _COLLAPSE) == 0 else 0
    return n_bytes


@cache
def _library() -> Any:
    """The C library; None where there are no large pages, or whoever runs the machine does not want them."""
    if sys.platform != "linux":
        return None
    try:
        if "[never]" in _SETTING.read_text():
            return None
        library = ctypes.CDLL(None)
        library.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
        library.mincore.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
    except (OSError, AttributeError):
        return None
    return library


def _resident_ranges(library: Any) -> Iterator[tuple[int, int]]:
    """Ranges of whole large pages of which every small one is in memory: the others would be made, and take some."""
    page = os.sysconf("SC_PAGE_SIZE")
    for start, end in _writable_ranges():
        is_there = np.zeros((end - start) // page, np.uint8)
        if library.mincore(start, end - start, is_there.ctypes.data) != 0:
            continue  # it was unmapped meanwhile
        is_whole = (is_there & 1).reshape(-1, _LARGE // page).all(axis=1)
        edges = np.flatnonzero(np.diff(is_whole, prepend=False, append=False))
        yield from (
            (start + first * _LARGE, start + last * _LARGE) for first, last in zip(edges[::2], edges[1::2], strict=True)
        )


def _writable_ranges() -> Iterator[tuple[int, int]]:
    """Memory of this process that stands for no file, cut to whole large pages."""
    for line in _MAPPINGS.read_text().splitlines():
        addresses, rights, _, _, inode, *name = line.split()
        if "w" not in rights or inode != "0" or (name and name[0] != "[heap]"):
            continue
        first, last = (int(address, 16) for address in addresses.split("-"))
        start, end = -(-first // _LARGE) * _LARGE, last // _LARGE * _LARGE
        if end > start:
            yield start, end
