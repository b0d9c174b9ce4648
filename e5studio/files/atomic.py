"""Atomic writing: hidden files beside their targets, synced, then renamed all together.

A hidden file is locked while it is written. So two runs never write to one target, and the next run deletes what a
killed one left behind.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from e5studio import file_lock
from e5studio.errors import OutputError


@contextmanager
def atomic_files(*paths: Path, overwrite: bool) -> Iterator[tuple[BinaryIO, ...]]:
    """Open files for writing that take their names together, when the block ends without an error.

    After an error all files stay as they were. A process that is killed while it renames can leave the other files
    new and the first one old, so one of them should say what belongs to it.

    Args:
        *paths: The targets, in one folder.
        overwrite: Whether existing files are replaced; otherwise one that appears meanwhile is an error.

    Raises:
        OutputError: Another run writes to a target, or one exists that may not be replaced.
        OSError: The folder is missing or not writable, or the disk is full.
    """
    with ExitStack() as stack:
        hidden = [stack.enter_context(_hidden_file(path)) for path in paths]
        if not overwrite:
            refuse_existing(*paths)
        yield tuple(cast(BinaryIO, file) for file in hidden)
        for file in hidden:
            file.sync()
        _rename_all(hidden, overwrite=overwrite)
    _sync_folder(paths[0].parent)


def refuse_existing(*paths: Path) -> None:
    """Refuse to write where a file is.

    Raises:
        OutputError: There is one.
    """
    for path in paths:
        if os.path.lexists(path):
            raise OutputError(
                f"{path} exists already.", "Choose another name, or have it replaced (--overwrite, overwrite=True)."
            )


class _HiddenFile(io.FileIO):
    """A locked file beside its target. Its errors name the target, which those of a full disk do not."""

    def __init__(self, path: Path, target: Path) -> None:
        super().__init__(file_lock.open_locked(path), "w+b", closefd=False)
        self.path = path
        self.target = target
        self._handle = self.fileno()

    def write(self, content: Any) -> int:
        """Write all of it."""
        rest = memoryview(content)
        n_bytes = rest.nbytes
        rest = rest.cast("B") if n_bytes else rest  # numpy's empty arrays cannot be cast
        with _naming(self.target):
            while rest.nbytes:
                rest = rest[super().write(rest) :]
        return n_bytes

    def sync(self) -> None:
        """Write it through to the disk, so that its name cannot survive a power cut without its contents."""
        with _naming(self.target):
            os.fsync(self._handle)
        if sys.platform == "win32":  # which renames no open file
            os.close(self._handle)
            self._handle = -1

    def release(self) -> None:
        """End the lock; delete the file if it still has its hidden name."""
        handle, self._handle = self._handle, -1
        if handle == -1:
            self.path.unlink(missing_ok=True)
        elif file_lock.is_at(handle, self.path):
            file_lock.discard(handle, self.path)
        else:
            os.close(handle)


@contextmanager
def _hidden_file(target: Path) -> Iterator[_HiddenFile]:
    path = _beside(target, "tmp")
    try:
        file = _HiddenFile(path, target)
    except BlockingIOError as error:
        raise OutputError(
            f"Another run is writing {target} now.", "Wait until it has ended, or choose another name."
        ) from error
    try:
        yield file
    finally:
        file.release()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise


def _rename_all(hidden: list[_HiddenFile], *, overwrite: bool) -> None:
    """Give all their names, or none where one fails; the first is last, since its lock tells others to wait."""
    with ExitStack() as undo:
        for file in reversed(hidden):
            if not overwrite:
                _take_free_name(file)
                undo.callback(file.target.unlink)
            elif file is hidden[0]:
                file.path.replace(file.target)
            else:
                _set_aside(file.target, undo)
                file.path.replace(file.target)
        undo.pop_all()
    for file in hidden[1:]:
        _beside(file.target, "old").unlink(missing_ok=True)


def _take_free_name(file: _HiddenFile) -> None:
    try:
        os.link(file.path, file.target)  # which fails where a file is, as renaming does not
    except FileExistsError:
        refuse_existing(file.target)
        raise
    except OSError:  # a file system without links
        refuse_existing(file.target)
        file.path.rename(file.target)


def _set_aside(path: Path, undo: ExitStack) -> None:
    old = _beside(path, "old")
    try:
        path.replace(old)
    except FileNotFoundError:
        undo.callback(path.unlink, missing_ok=True)
    else:
        undo.callback(old.replace, path)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{ending}")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system lets a folder be opened or synced
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
