"""Digests of files, of which each is read once a process while it stays the same file."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path

RECORD = "sha256.json"
"""The file in which a folder of ours records the digests of the others."""

_NAME_OF_BLOB = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal digits; 1.4 GB a second on a processor of 2021.

    A file counts as the same while its size, its time and its place on the disk are.
    """
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def damaged_blob(path: Path) -> Path | None:
    """The file behind a link of the Hub's cache, where it does not hold what its name says.

    Large files are named by their SHA-256, small ones by their id in Git; files of any other name are not judged.
    """
    blob = path.resolve()
    if not path.is_symlink() or not _NAME_OF_BLOB.fullmatch(blob.name):
        return None
    digest = sha256_of(blob) if len(blob.name) == 64 else _git_id(blob.read_bytes())
    return None if digest == blob.name else blob


def recorded_digests(folder: Path) -> dict[str, str]:
    """Name and digest of each file of a folder, as recorded when it was written; none where nothing is recorded."""
    try:
        digests = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_record = isinstance(digests, dict) and all(isinstance(digest, str) for digest in digests.values())
    return digests if is_record else {}


@functools.cache
def _read(path: Path, *_identity: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
