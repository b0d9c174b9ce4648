"""The process's own folders for files of visitors, which go when the process does.

A folder whose process was killed is deleted when the next Studio starts. A held lock tells whether its process lives:
containers that share a temporary folder do not see each other's processes, and number them alike.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PREFIX = "e5studio-"
_NEW = ".e5studio-new-"
_KINDS = ("uploads", "files")


@dataclass
class OwnFolder:
    """A folder of this process, for its user only.

    Attributes:
        path: Where it is.
        process: The process that made it; a fork must not delete its parent's.
    """

    path: Path
    process: int
    _lock: int | None = None

    @classmethod
    def new(cls, kind: str) -> OwnFolder:
        """A new folder, locked before it has the name by which others find it."""
        made = Path(tempfile.mkdtemp(prefix=_NEW))
        lock = _locked(made)
        path = made.rename(made.parent / f"{_PREFIX}{kind}-{secrets.token_hex(8)}")
        return cls(path, os.getpid(), lock)

    def restore(self) -> None:
        """Make the folder again if a cleaner of temporary folders took it; Gradio's would be open to other users."""
        if self.path.is_dir():
            return
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock is not None:
            os.close(self._lock)
        self._lock = _locked(self.path)


_own: list[OwnFolder] = []


def new_folder(kind: str) -> OwnFolder:
    """A folder that is deleted when this process ends, or when the next Studio starts."""
    if kind not in _KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(_KINDS)}")
    folder = OwnFolder.new(kind)
    if not _own:
        atexit.register(delete_folders)
    _own.append(folder)
    return folder


def own_folder(path: Path) -> OwnFolder | None:
    """The folder of this process at a path, if there is one."""
    return next((folder for folder in _own if folder.path == path), None)


def delete_folders() -> None:
    """Delete the folders of this process, which is about to end."""
    for folder in _own:
        if folder.process == os.getpid():
            shutil.rmtree(folder.path, ignore_errors=True)


def delete_folders_on_termination() -> None:
    """Delete the folders also when a container or a service is stopped, or its terminal is closed."""

    def end(number: int, _: Any) -> None:
        delete_folders()
        os._exit(128 + number)  # Python's own end would wait for models that are loading, or break off in them

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(signal.SIGHUP, end)


def delete_orphans() -> None:
    """Delete the folders of processes that were killed."""
    for kind in _KINDS:
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{kind}-*"):
            _unless_held(folder, lambda path: shutil.rmtree(path, ignore_errors=True))


def _locked(folder: Path) -> int | None:
    """A held lock on a folder; None where folders cannot be locked, and no folder is ever taken for an orphan."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unless_held(folder: Path, delete: Callable[[Path], None]) -> None:
    """Delete a folder of this user, if no living process holds its lock."""
    if sys.platform == "win32":
        return
    try:
        lock = _locked(folder) if folder.lstat().st_uid == os.getuid() else None
    except OSError:  # it has just gone, or is another user's, or no folder
        return
    if lock is None:
        return
    try:
        delete(folder)
    finally:
        os.close(lock)
