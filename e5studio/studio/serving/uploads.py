"""Uploaded files: how much room they may take, for each visitor and for all, and when they go.

Their bytes and their number are counted as they come and as they go, so that no request walks a folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from e5studio.errors import TextError
from e5studio.studio.formatting import shown
from e5studio.studio.serving.temporary_folders import OwnFolder, delete_orphans, new_folder, own_folder
from e5studio.studio.serving.visitors import Shares

KEPT_SECONDS = 3600
"""How long a file stays after it was uploaded."""

_UNCLAIMED_SECONDS = 600  # for files that no page has read
_MAX_BYTES = 2_000_000_000  # over all uploaded files
_MAX_FILES = 2_000
_CLAIM_SECONDS = 60  # a page reads a file as soon as it is there
_MADE_ROOM_FILES = 20  # at once
_VARIABLE = "GRADIO_TEMP_DIR"


def use_own_folder() -> None:
    """Have Gradio write uploads to a new folder, unless the environment names one, whose files are never deleted.

    Must run before the page is built.
    """
    delete_orphans()
    if not os.environ.get(_VARIABLE):
        os.environ[_VARIABLE] = str(new_folder("uploads").path)


def uploads_here(is_claimed: Callable[[Path], bool]) -> Uploads:
    """The uploads of this process, in the folder where Gradio writes them; `is_claimed` as in `Uploads`."""
    return Uploads(own_folder(Path(os.environ.get(_VARIABLE, ""))), is_claimed)


def still_there(path: Path) -> Path:
    """The path of an uploaded file, if it still exists.

    Raises:
        TextError: It does not: it is old, or Gradio's only copy of equal files was deleted with another page.
    """
    if not path.is_file():
        raise TextError(
            f"{shown(path.name, 80)} is no longer on the server: files are deleted after an hour, or with another page "
            "that uploaded the same file. Choose it again."
        )
    return path


@dataclass(frozen=True)
class _Stored:
    """A file in the folder.

    Attributes:
        since: When it last changed, by our clock.
        changed_ns: When it last changed, by the file system's, which may be set back.
        visitor: Who uploaded it; None if no upload tells of it, such as what one that broke off left.
        n_bytes: Its bytes that are counted.
    """

    since: float
    changed_ns: int
    visitor: str | None = None
    n_bytes: int = 0


class Uploads:
    """The files in a folder; without a folder of our own they are bounded only while they arrive.

    Args:
        folder: Where Gradio writes uploads, if that is our own folder.
        is_claimed: Whether a page has read a file.
        max_bytes: Of all files.
        max_files: Number of files.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        folder: OwnFolder | None,
        is_claimed: Callable[[Path], bool] = lambda path: False,
        max_bytes: int = _MAX_BYTES,
        max_files: int = _MAX_FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._is_claimed = is_claimed
        self._bytes = Shares(max_bytes)
        self._files = Shares(max_files)
        self._clock = clock
        self._stored: dict[Path, _Stored] = {}
        self._lock = threading.Lock()

    def begin(self, visitor: str) -> ArrivingUpload | None:
        """Begin an upload; None if the visitor's share of the room is taken by files that pages have read."""
        if not self._has_share(visitor):
            self._delete_unclaimed(visitor)
            if not self._has_share(visitor):
                return None
        self._files.add(visitor, 1)
        if self._folder is not None:
            self._folder.restore()
        return ArrivingUpload(self, visitor)

    def take(self, visitor: str, n_bytes: int) -> bool:
        """Count bytes that arrive; False if there is no room for them."""
        return self._bytes.take(visitor, n_bytes)

    def end(self, visitor: str, n_bytes: int, paths: Sequence[Path]) -> None:
        """Count the files that an upload has become in place of what arrived; Gradio stores equal files once."""
        with self._lock:
            for path in set(paths) if self._folder is not None else ():
                with suppress(OSError):  # it was deleted in this moment
                    status = path.stat()
                    self._forget(path)
                    self._stored[path] = _Stored(self._clock(), status.st_mtime_ns, visitor, status.st_size)
                    self._bytes.add(visitor, status.st_size)
                    self._files.add(visitor, 1)
        self._bytes.add(visitor, -n_bytes)
        self._files.add(visitor, -1)

    def delete_old(self) -> None:
        """Delete old files from our own folder, and files that no page has read; slow, and safe in a thread."""
        for path in self._present():
            with suppress(OSError):  # it may be deleted right now, and folders may not be empty
                if path.is_dir():
                    path.rmdir()
                elif self._age(path) > (KEPT_SECONDS if self._is_claimed(path) else _UNCLAIMED_SECONDS):
                    path.unlink()
        with self._lock:
            for path in [path for path in self._stored if not path.exists()]:
                self._forget(path)

    def _has_share(self, visitor: str) -> bool:
        return self._bytes.has_room(visitor, 1) and self._files.has_room(visitor, 1)

    def _delete_unclaimed(self, visitor: str) -> None:
        """Delete some files of a visitor that a page would have read by now; the oldest, if any."""
        before = self._clock() - _CLAIM_SECONDS
        with self._lock:
            own = [path for path, stored in self._stored.items() if stored.visitor == visitor and stored.since < before]
            for path in [path for path in own if not self._is_claimed(path)][:_MADE_ROOM_FILES]:
                with suppress(OSError):  # it was deleted in this moment
                    path.unlink()
                self._forget(path)

    def _present(self) -> Iterator[Path]:
        """Everything in our own folder, the content of a folder before the folder."""
        if self._folder is not None:
            yield from sorted(self._folder.path.rglob("*"), reverse=True)

    def _age(self, path: Path) -> float:
        """Seconds since a file last changed, or since it was first seen."""
        now, changed_ns = self._clock(), path.stat().st_mtime_ns
        with self._lock:
            stored = self._stored.get(path, _Stored(now, changed_ns))
            if stored.changed_ns != changed_ns:
                stored = replace(stored, since=now, changed_ns=changed_ns)
            self._stored[path] = stored
        return now - stored.since

    def _forget(self, path: Path) -> None:
        stored = self._stored.pop(path, None)
        if stored is not None and stored.visitor is not None:
            self._bytes.add(stored.visitor, -stored.n_bytes)
            self._files.add(stored.visitor, -1)


class ArrivingUpload:
    """An upload that is coming, of a visitor.

    Args:
        uploads: Where it is counted.
        visitor: Whose it is.
    """

    def __init__(self, uploads: Uploads, visitor: str) -> None:
        self._uploads = uploads
        self._visitor = visitor
        self._n_bytes = 0

    def take(self, n_bytes: int) -> bool:
        """Count bytes; False if there is no room for them."""
        has_room = self._uploads.take(self._visitor, n_bytes)
        self._n_bytes += n_bytes if has_room else 0
        return has_room

    def end(self, paths: Sequence[Path]) -> None:
        """Count the files that the upload has become; none if it failed."""
        self._uploads.end(self._visitor, self._n_bytes, paths)
