"""What a page fetches by itself, outside Gradio's events: large figures and tables, and files to save. Knows no Gradio.

An event's values pass a queue as JSON and are compared as strings in the browser, which a matrix of 256 x 256 or
a map of 50,000 points would hold up. Such an event carries an address instead. Everything stays in memory (files
of many vectors on disk), under keys that nobody can guess, and is forgotten with the page that it was made for.
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
from e5studio.studio.serving.uploads import new_folder

PATH = "e5studio/downloads"
MAX_INLINE_CHARACTERS = 32_000
_KEPT_SECONDS = 3600
_LEAST_PAUSE = 1  # second between two looks for what is over
_MAX_BYTES = 256_000_000
_MAX_DOWNLOAD = 64_000_000
_MAX_FILE_BYTES = 4_000_000_000
_PACKED = "application/octet-stream"


@dataclass(frozen=True)
class Download:
    """Bytes on their way to a page.

    Attributes:
        content: The bytes.
        media_type: What they are.
        file_name: Under which name a browser saves them; None for what a script reads.
    """

    content: bytes
    media_type: str = _PACKED
    file_name: str | None = None


@dataclass(frozen=True)
class FileDownload:
    """A file on disk on its way to a page, for what is too large to be kept in memory.

    Attributes:
        path: In the folder that `Downloads.new_path` names; deleted when it is forgotten.
        media_type: What it holds.
        file_name: Under which name a browser saves it.
    """

    path: Path
    media_type: str
    file_name: str


@dataclass(frozen=True)
class _Kept:
    """A download, and until when and for whose page it is kept."""

    download: Download | FileDownload
    n_bytes: int
    ends: float
    session: str | None


class _Stock:
    """Downloads in the order in which they came; the oldest leave where all together take too much room.

    Args:
        max_bytes: Of all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self.n_bytes = 0

    @property
    def first_end(self) -> float:
        """When the next one is over."""
        return next((kept.ends for kept in self._kept.values()), math.inf)

    def get(self, key: str) -> Download | FileDownload | None:
        kept = self._kept.get(key)
        return None if kept is None else kept.download

    def add(self, key: str, kept: _Kept) -> None:
        self._kept[key] = kept
        self.n_bytes += kept.n_bytes

    def trim(self, now: float) -> None:
        """Drop what is over or too much; the newest stays even if it alone is, for somebody is about to fetch it."""
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            is_too_much = self.n_bytes > self._max_bytes and len(self._kept) > 1
            if oldest.ends > now and not is_too_much:
                return
            self._drop(key)

    def drop_of(self, session: str) -> None:
        """Drop all that was made for a page."""
        for key in [key for key, kept in self._kept.items() if kept.session == session]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key)
        self.n_bytes -= kept.n_bytes
        if isinstance(kept.download, FileDownload):
            kept.download.path.unlink(missing_ok=True)


class Downloads:
    """Keeps downloads until their page is forgotten, an hour at most, and the oldest no longer where there is no room.

    Args:
        max_bytes: Of all downloads in memory.
        kept_seconds: How long one is kept at most.
        clock: Seconds that never go back.
        max_file_bytes: Of all downloads on disk.
        session: Tells for which page a download is that comes now.
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
        """Keep a download; returns its address, relative to the page's.

        Raises:
            LimitError: It would push out too much of what others wait for.
        """
        if len(download.content) > _MAX_DOWNLOAD:
            raise LimitError(
                f"This file has {len(download.content) / 1e6:,.0f} MB; the limit is {_MAX_DOWNLOAD / 1e6:.0f} MB. "
                "Use fewer or shorter texts, or NumPy or Parquet in place of CSV."
            )
        return self._keep(self._in_memory, download, len(download.content))

    def new_path(self, ending: str) -> Path:
        """A place for a file that becomes a download; the folder goes with the process."""
        with self._lock:
            if self._folder is None:
                self._folder = new_folder("files")
            return self._folder / (secrets.token_hex(8) + ending)

    def add_file(self, download: FileDownload) -> str:
        """Keep a file until it is forgotten, which deletes it; returns its address, relative to the page's."""
        return self._keep(self._on_disk, download, download.path.stat().st_size)

    def get(self, key: str) -> Download | FileDownload | None:
        """The download, or None where there is none (any longer)."""
        with self._lock:
            self._trim()
            return self._on_disk.get(key) or self._in_memory.get(key)

    def forget(self, session: str) -> None:
        """Keep nothing any more of what was made for a page."""
        with self._lock:
            self._in_memory.drop_of(session)
            self._on_disk.drop_of(session)

    @property
    def n_bytes(self) -> int:
        """Of all that is kept in memory."""
        return self._in_memory.n_bytes

    def as_payload(self, value: Any) -> dict[str, Any]:
        """A figure or a table as an event may carry it: as it is while small, else the address of a download.

        Args:
            value: Plain data, or a dataclass of it, in which large arrays are numpy's.
        """
        plain = {field.name: getattr(value, field.name) for field in fields(value)} if is_dataclass(value) else value
        return as_payload(plain, self)

    def sweep(self) -> None:
        """Forget what is over; runs by itself, so that nothing stays where nobody comes any more."""
        with self._lock:
            self._sweeper = None
            self._trim()
            self._sweep_later()

    def _keep(self, stock: _Stock, download: Download | FileDownload, n_bytes: int) -> str:
        key = secrets.token_urlsafe(24)
        with self._lock:
            stock.add(key, _Kept(download, n_bytes, self._clock() + self._kept_seconds, self._session()))
            self._trim()
            self._sweep_later()
        return f"{PATH}/{key}"

    def _trim(self) -> None:
        self._in_memory.trim(self._clock())
        self._on_disk.trim(self._clock())

    def _sweep_later(self) -> None:
        first_end = min(self._in_memory.first_end, self._on_disk.first_end)
        if self._sweeper is None and first_end < math.inf:
            self._sweeper = threading.Timer(max(first_end - self._clock(), _LEAST_PAUSE), self.sweep)
            self._sweeper.daemon = True
            self._sweeper.start()


DOWNLOADS = Downloads()
"""Of this process. Visitors share it and cannot meet in it: only the page that it was sent to knows an address."""


def as_payload(value: dict[str, Any], downloads: Downloads = DOWNLOADS) -> dict[str, Any]:
    """A figure or a table as an event may carry it: as it is while small, else the address of its download.

    Args:
        value: Plain data in which large arrays are numpy's.
        downloads: Where it is kept.
    """
    arrays: list[np.ndarray[Any, Any]] = []

    def packed(item: Any) -> Any:
        if not isinstance(item, np.ndarray):
            raise TypeError(f"{type(item).__name__} is no plain data")
        arrays.append(_as_sent(item))
        before = sum(array.nbytes for array in arrays[:-1])
        return {"$array": [arrays[-1].dtype.name, before, list(item.shape)]}

    text = json.dumps(value, default=packed, ensure_ascii=False, separators=(",", ":"))
    if not arrays and len(text) <= MAX_INLINE_CHARACTERS:
        return value
    head = text.encode()
    head += b" " * (-len(head) % 4)  # arrays begin at a multiple of their numbers' size
    content = b"".join([struct.pack("<I", len(head)), head, *(array.tobytes() for array in arrays)])
    return {"payload": downloads.put(Download(content))}


def download_route(downloads: Downloads = DOWNLOADS) -> Route:
    """Where pages fetch their downloads."""

    def answer(request: Request) -> Response:
        download = downloads.get(request.path_params["key"])
        if download is None:
            return PlainTextResponse("This is no longer kept. Press Score again.", status_code=404)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if download.file_name:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(download.file_name)}"
        if isinstance(download, FileDownload):
            return FileResponse(download.path, media_type=download.media_type, headers=headers)
        return Response(download.content, media_type=download.media_type, headers=headers)

    return Route(f"/{PATH}/{{key}}", answer, methods=["GET"])


def _as_sent(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Little-endian numbers of four bytes, as the page's script reads them."""
    return np.ascontiguousarray(array, "<f4" if array.dtype.kind == "f" else "<i4")
