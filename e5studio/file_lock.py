"""Locks on files that the system releases when their holder ends, however it ends.

A number of a process says less: another container, or the next start, gives the same number to another process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _BEYOND_ANY_FILE = 1 << 62  # Windows lets no other process read a locked byte

    def _lock(handle: int) -> None:
        os.lseek(handle, _BEYOND_ANY_FILE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_OPTIONS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def open_locked(path: Path) -> int:
    """Make an empty file and lock it; what a process that was killed left under this name is deleted.

    Returns:
        A file descriptor. The lock ends when it is closed.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file cannot be made, or is there and cannot be locked.
    """
    while True:
        handle = _open_and_lock(path)
        is_named = is_at(handle, path)
        if is_named and os.fstat(handle).st_size == 0:
            return handle
        if is_named:  # left behind
            discard(handle, path)
        else:  # its last holder renamed or deleted it meanwhile
            os.close(handle)


def discard(handle: int, path: Path) -> None:
    """Delete a locked file and end its lock; in this order, so that nobody else locks what is about to go."""
    if sys.platform == "win32":  # which deletes no open file
        os.close(handle)
        path.unlink(missing_ok=True)
    else:
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file that exists as long as the block lasts.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: The file cannot be made or locked.
    """
    handle = open_locked(path)
    try:
        yield
    finally:
        with suppress(OSError):
            discard(handle, path)


def _open_and_lock(path: Path) -> int:
    is_new = not path.exists()
    handle = os.open(path, _OPTIONS, 0o666)
    try:
        _lock(handle)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:  # a file system without locks: a file that is there may be anybody's
        if not is_new:
            os.close(handle)
            raise
    return handle
