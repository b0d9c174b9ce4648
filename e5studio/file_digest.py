"""Digests of files, of which each is read once while it stays the same file: its size and its time do.

Digests of large files are recorded on disk, so that a model's start does not read its weights through.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import secrets
import time
from pathlib import Path

from e5studio.cache_folder import cache_folder

RECORD = "sha256.json"
"""The file in which a folder of ours records the digests of the others."""

_NAME_OF_BLOB = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_RECORD = re.compile(r"(\d+) (\d+) ([0-9a-f]{64})")
_LARGE = 16 * 1024 * 1024  # bytes; to read fewer takes 15 ms
_SETTLED_NS = 2_000_000_000  # by then a change gives a file another time on any file system


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal digits; 1.4 GB a second on a processor of 2021.

    A file counts as the same while its size, its time and its place on the disk are; on disk, under its path, while
    its size and time are.
    """
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read anew: its size and its time say little of a damaged disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remember(path: Path, digest: str) -> None:
    """Record the digest of a file that the caller wrote, and that nobody can have changed since."""
    stat = path.stat()
    if stat.st_size >= _LARGE:
        _record(path, stat.st_size, stat.st_mtime_ns, digest)


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
def _read(path: Path, size: int, mtime_ns: int, _inode: int) -> str:
    recorded = _recorded(path, size, mtime_ns) if size >= _LARGE else None
    if recorded is not None:
        return recorded
    is_settled = time.time_ns() - mtime_ns > _SETTLED_NS
    digest = digest_of(path)
    if size >= _LARGE and is_settled:
        _record(path, size, mtime_ns, digest)
    return digest


def _recorded(path: Path, size: int, mtime_ns: int) -> str | None:
    try:
        record = _RECORD.fullmatch(_record_of(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    is_same = record is not None and (int(record[1]), int(record[2])) == (size, mtime_ns)
    return record[3] if record is not None and is_same else None


def _record(path: Path, size: int, mtime_ns: int, digest: str) -> None:
    record = _record_of(path)
    with contextlib.suppress(OSError):  # a full or read-only disk only makes the next start slower
        record.parent.mkdir(parents=True, exist_ok=True)
        temporary = record.with_name(f"{record.name}.{secrets.token_hex(4)}")
        temporary.write_text(f"{size} {mtime_ns} {digest}", encoding="ascii")
        temporary.replace(record)


def _record_of(path: Path) -> Path:
    return cache_folder() / "digests" / hashlib.sha256(str(path.resolve()).encode(errors="surrogatepass")).hexdigest()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
