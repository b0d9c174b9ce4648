"""Converted models on disk: named by all that decides their contents, written whole or not at all.

Two processes may convert the same model at once; the second to finish throws its copy away.
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


def place(kind: str, identity: Mapping[str, object]) -> Path:
    """Where the model of this identity belongs; it need not be there.

    Args:
        kind: The back end.
        identity: All that decides what the conversion gives.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / digest[:32]


def keep(folder: Path, write: Callable[[Path], None]) -> bool:
    """Write a model's files, all of them or none.

    Args:
        folder: From `place`.
        write: Writes the files into the folder that it is given.

    Returns:
        Whether they are there now: a full or read-only disk only costs the next start its time.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_MAKING, ignore_cleanup_errors=True) as made:
            inner = Path(made) / folder.name
            inner.mkdir()
            write(inner)
            names = [_sync(path).name for path in inner.iterdir()]
            if not _are_in(folder, names):  # else another process was first
                forget(folder)
                inner.rename(folder)
    except OSError:
        return False
    return _are_in(folder, names)


def forget(folder: Path) -> None:
    """Remove what turned out to be damaged."""
    shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> Path:
    """Where E5 Studio keeps what it can make again: E5STUDIO_CACHE, or the system's place for such things."""
    chosen = os.environ.get("E5STUDIO_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))  # leaves ~ alone where nobody has a home, as Path would not
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or os.path.expanduser("~/.cache")) / "e5studio"


def _are_in(folder: Path, names: list[str]) -> bool:
    return all((folder / name).is_file() for name in names)


def _sync(path: Path) -> Path:
    """A file whose name outlives a power cut but whose contents don't would look whole."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return path


def _remove_leftovers(parent: Path) -> None:
    """What conversions that were killed left behind; a conversion takes minutes, not a day."""
    for path in parent.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _A_DAY:
                forget(path)
