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
from collections.abc import Callable, Mapping
from pathlib import Path


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
        Whether the folder is there now: a full or read-only disk only costs the next start its time.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-", ignore_cleanup_errors=True) as made:
            inner = Path(made) / folder.name
            inner.mkdir()
            write(inner)
            with contextlib.suppress(OSError):  # another process was first
                inner.rename(folder)
    except (OSError, RuntimeError):
        return folder.is_dir()
    return folder.is_dir()


def forget(folder: Path) -> None:
    """Remove what turned out to be damaged."""
    shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> Path:
    """Where E5 Studio keeps what it can make again: E5STUDIO_CACHE, or the system's place for such things."""
    chosen = os.environ.get("E5STUDIO_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "e5studio"
