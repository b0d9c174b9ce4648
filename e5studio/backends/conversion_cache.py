"""Converted models on disk: named by everything that decides their contents, and known by their digests.

They are written whole or not at all. Two processes may convert the same model at once; the second to finish discards
its copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from e5studio import file_lock
from e5studio.cache_folder import cache_folder
from e5studio.file_digest import remember, sha256_of

_MAKING = ".making-"
_LOCK = ".lock"
_DIGESTS = "sha256.json"


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
        with _temporary_folder(folder.parent) as temporary:
            inner = temporary / folder.name
            inner.mkdir()
            write(inner)
            digests = _write_digests(inner)
            if _take_name(inner, folder):
                for name, digest in digests.items():
                    remember(folder / name, digest)
    except OSError:
        return False
    return is_whole(folder)


def is_whole(folder: Path) -> bool:
    """Whether the files of a model are there, and hold what was written.

    A damaged file gives other vectors and no error. So all bytes are read, once as long as a file's size and time stay
    the same.
    """
    try:
        digests = json.loads((folder / _DIGESTS).read_bytes())
        return bool(digests) and all(sha256_of(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return False


def _take_name(inner: Path, folder: Path) -> bool:
    """Move a model to its place, unless another process was first."""
    try:
        inner.rename(folder)
    except OSError:  # a folder of that name exists
        if is_whole(folder):
            return False
        folder.rename(inner.with_name("damaged"))
        inner.rename(folder)
    return True


@contextlib.contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder with a lock beside it, which is there before the folder is and as long as it is."""
    path = parent / f"{_MAKING}{secrets.token_hex(8)}"
    with file_lock.held(path.with_name(path.name + _LOCK)):
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _remove_leftovers(parent: Path) -> None:
    """Delete what killed conversions left: folders whose lock nobody holds."""
    for name in {path.name.removesuffix(_LOCK) for path in parent.glob(f"{_MAKING}*")}:
        with contextlib.suppress(OSError), file_lock.held(parent / f"{name}{_LOCK}"):
            shutil.rmtree(parent / name, ignore_errors=True)


def _write_digests(folder: Path) -> dict[str, str]:
    digests = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / _DIGESTS).write_text(json.dumps(digests, indent=1))
    for path in folder.iterdir():
        _sync(path)
    return digests


def _sync(path: Path) -> None:
    """Write a file through to the disk: after a power cut its name could survive without its contents."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
