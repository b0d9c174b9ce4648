"""Converted models on disk: named by everything that decides their contents, written whole or not at all.

Two processes may convert the same model at once; the second to finish discards its copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_MAKING = ".making-"
_A_DAY = 86_400


def folder_of(kind: str, identity: Mapping[str, object]) -> Path:
    """The folder for the model of this identity; it need not exist yet.

    Args:
        kind: The backend.
        identity: Everything that decides the result of the conversion.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / digest[:32]


def store(folder: Path, write: Callable[[Path], None]) -> bool:
    """Write a model's files, all of them or none.

    Args:
        folder: From `folder_of`.
        write: Writes the files into the folder that it receives.

    Returns:
        Whether they are stored: a full or read-only disk only makes the next start slower.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_MAKING, ignore_cleanup_errors=True) as temporary:
            inner = Path(temporary) / folder.name
            inner.mkdir()
            write(inner)
            names = [_sync(path).name for path in inner.iterdir()]
            if not _are_in(folder, names):  # else another process was first
                remove(folder)
                inner.rename(folder)
    except OSError:
        return False
    return _are_in(folder, names)


def remove(folder: Path) -> None:
    """Delete a damaged model."""
    shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> Path:
    """The folder for files that E5 Studio can make again: E5STUDIO_CACHE, or the system's folder for caches."""
    chosen = os.environ.get("E5STUDIO_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))  # leaves ~ alone where nobody has a home, as Path would not
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or os.path.expanduser("~/.cache")) / "e5studio"


def _are_in(folder: Path, names: list[str]) -> bool:
    return all((folder / name).is_file() for name in names)


def _sync(path: Path) -> Path:
    """Write a file through to the disk: after a power cut its name could survive without its contents."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return path


def _remove_leftovers(parent: Path) -> None:
    """Delete leftovers of killed conversions; a conversion takes minutes, not a day."""
    for path in parent.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _A_DAY:
                remove(path)
