"""Downloads: large figures and tables, and files to save, which a page fetches outside Gradio's events.

Values of events pass a queue as JSON, and the browser compares them as strings: too slow for a matrix of 256 x 256 or
a map of 50,000 points. Such an event carries the address of a download instead. Downloads stay in memory (files of
many vectors on disk) under random keys and are deleted with the page that they were made for.
"""

from __future__ import annotations

import json
import math
import secrets
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from e5studio.studio.errors import LimitError
from e5studio.studio.serving.sessions import session_now
from e5studio.studio.serving.temporary_folders import new_folder

PATH = "e5studio/downloads"
MAX_INLINE_CHARACTERS = 32_000
_KEPT_SECONDS = 3600
_SHORTEST_PAUSE = 1  # second between two sweeps
_MAX_BYTES = 256_000_000
_MAX_DOWNLOAD = 64_000_000
_MAX_FILE_BYTES = 4_000_000_000
_PACKED = "application/octet-stream"


@dataclass(frozen=True)
class Download:
    """A download in memory.

    Attributes:
        content: The bytes.
        media_type: Their type.
        file_name: The name under which a browser saves them; None for data that a script reads.
    """

    content: bytes
    media_type: str = _PACKED
    file_name: str | None = None


@dataclass(frozen=True)
class FileDownload:
    """A download on disk, for files that are too large for memory.

    Attributes:
        path: A path of `Downloads.new_path`; the file is deleted with the download.
        media_type: The type of its content.
        file_name: The name under which a browser saves it.
    """

    path: Path
    media_type: str
    file_name: str


@dataclass(frozen=True)
class _Entry:
    """A stored download, with its end of life and the session that it was made for."""

    download: Download | FileDownload
    n_bytes: int
    ends: float
    session: str | None


class _Stock:
    """Downloads from oldest to newest; the oldest are dropped where all together take too much room.

    Args:
        max_bytes: Most bytes of all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.n_bytes = 0

    @property
    def first_end(self) -> float:
        """When the oldest download ends."""
        return next((entry.ends for entry in self._entries.values()), math.inf)

    def get(self, key: str) -> Download | FileDownload | None:
        entry = self._entries.get(key)
        return None if entry is None else entry.download

    def add(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self.n_bytes += entry.n_bytes

    def trim(self, now: float) -> None:
        """Drop downloads that have ended or take too much room, but never the newest: its page is about to fetch it."""
        while self._entries:
            key, oldest = next(iter(self._entries.items()))
            is_too_much = self.n_bytes > self._max_bytes and len(self._entries) > 1
            if oldest.ends > now and not is_too_much:
                return
            self._drop(key)

    def drop_session(self, session: str) -> None:
        """Drop all downloads of a session."""
        for key in [key for key, entry in self._entries.items() if entry.session == session]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        self.n_bytes -= entry.n_bytes
        if isinstance(entry.download, FileDownload):
            entry.download.path.unlink(missing_ok=True)


class Downloads:
    """Stores downloads until their page is forgotten, for an hour at most, and drops the oldest where room is short.

    Visitors share it; only the page that received an address knows it.

    Args:
        max_bytes: Most bytes of all downloads in memory.
        kept_seconds: Longest life of a download.
        clock: A clock that never goes back, in seconds.
        max_file_bytes: Most bytes of all downloads on disk.
        session: Names the session that a new download is for.
    """

    def __init__(
        self,
        max_bytes: int = _MAX_BYTES,
        kept_seconds: float = _KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        max_file_bytes: int = _MAX_FILE_BYTES,
        session: Callable[[], str | None] = session_now,
    ) -> None:
        self._in_memory = _Stock(max_bytes)
        self._on_disk = _Stock(max_file_bytes)
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._session = session
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._sweeper: threading.Timer | None = None

    def put(self, download: Download) -> str:
        """Store a download; returns its address, relative to the page's.

        Raises:
            LimitError: It would displace too many of other visitors' downloads.
        """
        if len(download.content) > _MAX_DOWNLOAD:
            raise LimitError(
                f"This file has {len(download.content) / 1e6:,.0f} MB; the limit is {_MAX_DOWNLOAD / 1e6:.0f} MB. "
                "Use fewer or shorter texts, or NumPy or Parquet in place of CSV."
            )
        return self._store(self._in_memory, download, len(download.content))

    def new_path(self, ending: str) -> Path:
        """A path for a file to download; its folder is deleted when the process ends."""
        with self._lock:
            if self._folder is None:
                self._folder = new_folder("files").path
            return self._folder / (secrets.token_hex(8) + ending)

    def add_file(self, download: FileDownload) -> str:
        """Store a file as a download, which deletes it at its end; returns its address, relative to the page's."""
        return self._store(self._on_disk, download, download.path.stat().st_size)

    def as_payload(self, value: Any) -> dict[str, Any]:
        """The value of an event: small data as it is, large data as the address of a download.

        Args:
            value: Plain data, or a dataclass of it, in which large arrays are numpy's.
        """
        plain = {field.name: getattr(value, field.name) for field in fields(value)} if is_dataclass(value) else value
        content = _packed(plain)
        return plain if content is None else {"payload": self.put(Download(content))}

    def get(self, key: str) -> Download | FileDownload | None:
        """The download of a key; None if there is none, or none any longer."""
        with self._lock:
            self._trim()
            return self._on_disk.get(key) or self._in_memory.get(key)

    def forget(self, session: str) -> None:
        """Delete all downloads of a session."""
        with self._lock:
            self._in_memory.drop_session(session)
            self._on_disk.drop_session(session)

    @property
    def n_bytes(self) -> int:
        """Bytes of all downloads in memory."""
        return self._in_memory.n_bytes

    def sweep(self) -> None:
        """Delete downloads that have ended; runs by itself as long as there are any."""
        with self._lock:
            self._sweeper = None
            self._trim()
            self._sweep_later()

    def _store(self, stock: _Stock, download: Download | FileDownload, n_bytes: int) -> str:
        key = secrets.token_urlsafe(24)
        with self._lock:
            stock.add(key, _Entry(download, n_bytes, self._clock() + self._kept_seconds, self._session()))
            self._trim()
            self._sweep_later()
        return f"{PATH}/{key}"

    def _trim(self) -> None:
        self._in_memory.trim(self._clock())
        self._on_disk.trim(self._clock())

    def _sweep_later(self) -> None:
        first_end = min(self._in_memory.first_end, self._on_disk.first_end)
        if self._sweeper is None and first_end < math.inf:
            self._sweeper = threading.Timer(max(first_end - self._clock(), _SHORTEST_PAUSE), self.sweep)
            self._sweeper.daemon = True
            self._sweeper.start()


def download_route(downloads: Downloads) -> Route:
    """The route where pages fetch their downloads."""

    def answer(request: Request) -> Response:
        download = downloads.get(request.path_params["key"])
        if download is None:
            return PlainTextResponse("This download has expired. Press Score again.", status_code=404)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if download.file_name:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(download.file_name)}"
        if isinstance(download, FileDownload):
            return FileResponse(download.path, media_type=download.media_type, headers=headers)
        return Response(download.content, media_type=download.media_type, headers=headers)

    return Route(f"/{PATH}/{{key}}", answer, methods=["GET"])


def _packed(value: Any) -> bytes | None:
    """Data as bytes: length of the JSON, JSON, arrays; None if it is small and without arrays."""
    arrays: list[np.ndarray[Any, Any]] = []

    def reference(item: Any) -> Any:
        if not isinstance(item, np.ndarray):
            raise TypeError(f"{type(item).__name__} is not plain data")
        start = sum(array.nbytes for array in arrays)
        # Numbers of four bytes, as the page's script reads them.
        arrays.append(np.ascontiguousarray(item, "<f4" if item.dtype.kind == "f" else "<i4"))
        return {"$array": [arrays[-1].dtype.name, start, list(item.shape)]}

    text = json.dumps(value, default=reference, ensure_ascii=False, separators=(",", ":"))
    if not arrays and len(text) <= MAX_INLINE_CHARACTERS:
        return None
    head = text.encode()
    head += b" " * (-len(head) % 4)  # arrays begin at a multiple of their numbers' size
    return b"".join([struct.pack("<I", len(head)), head, *(array.tobytes() for array in arrays)])
