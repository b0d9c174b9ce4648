"""What a page fetches by itself, outside Gradio's events: large figures and tables, and files to save. Knows no Gradio.

An event's values pass a queue as JSON and are compared as strings in the browser, which a matrix of 256 x 256 or
a map of 50,000 points would hold up. Such an event carries an address instead. Everything stays in memory (files
of many vectors on disk), under keys that nobody can guess, and is forgotten after a while.
"""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
import struct
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from e5studio.studio.boxes import LimitError

PATH = "e5studio/parcels"
MAX_INLINE_CHARACTERS = 32_000
_KEPT_SECONDS = 3600
_LEAST_PAUSE = 1  # second between two looks for what is over
_MAX_BYTES = 256_000_000
_MAX_PARCEL = 64_000_000
_MAX_FILE_BYTES = 4_000_000_000
_PACKED = "application/octet-stream"


@dataclass(frozen=True)
class Parcel:
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
class FileParcel:
    """A file on disk on its way to a page, for what is too large to be kept in memory.

    Attributes:
        path: In the folder that `Parcels.new_path` names; deleted when it is forgotten.
        media_type: What it holds.
        file_name: Under which name a browser saves it.
    """

    path: Path
    media_type: str
    file_name: str


class Parcels:
    """Keeps parcels for an hour, and the oldest no longer where all together would take too much room.

    Args:
        max_bytes: Of all parcels in memory.
        kept_seconds: How long one is kept.
        clock: Seconds that never go back.
        max_file_bytes: Of all parcels on disk.
    """

    def __init__(
        self,
        max_bytes: int = _MAX_BYTES,
        kept_seconds: float = _KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        max_file_bytes: int = _MAX_FILE_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_file_bytes = max_file_bytes
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._parcels: OrderedDict[str, tuple[float, Parcel]] = OrderedDict()
        self._n_bytes = 0
        self._files: OrderedDict[str, tuple[float, FileParcel, int]] = OrderedDict()  # with their sizes
        self._folder: Path | None = None
        self._sweeper: threading.Timer | None = None

    def put(self, parcel: Parcel) -> str:
        """Keep a parcel; returns its address, relative to the page's.

        Raises:
            LimitError: It would push out too much of what others wait for.
        """
        if len(parcel.content) > _MAX_PARCEL:
            raise LimitError(
                f"This takes {len(parcel.content) / 1e6:,.0f} MB; at most {_MAX_PARCEL / 1e6:.0f} MB are sent at once. "
                "Use fewer or shorter texts, or NumPy or Parquet in place of CSV."
            )
        key = secrets.token_urlsafe(24)
        with self._lock:
            self._parcels[key] = (self._clock() + self._kept_seconds, parcel)
            self._n_bytes += len(parcel.content)
            self._forget()
            self._sweep_later()
        return f"{PATH}/{key}"

    def new_path(self, ending: str) -> Path:
        """A place for a file that becomes a parcel; the folder goes with the process."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="e5studio-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            return self._folder / (secrets.token_hex(8) + ending)

    def put_file(self, parcel: FileParcel) -> str:
        """Keep a file until it is forgotten, which deletes it; returns its address, relative to the page's."""
        key = secrets.token_urlsafe(24)
        with self._lock:
            self._files[key] = (self._clock() + self._kept_seconds, parcel, parcel.path.stat().st_size)
            self._forget()
            self._sweep_later()
        return f"{PATH}/{key}"

    def get(self, key: str) -> Parcel | FileParcel | None:
        """The parcel, or None where there is none (any longer)."""
        with self._lock:
            self._forget()
            if key in self._files:
                return self._files[key][1]
            _, parcel = self._parcels.get(key, (0.0, None))
        return parcel

    @property
    def n_bytes(self) -> int:
        """Of all that is kept."""
        return self._n_bytes

    def sweep(self) -> None:
        """Forget what is over; runs by itself, so that nothing stays where nobody comes any more."""
        with self._lock:
            self._sweeper = None
            self._forget()
            if self._parcels or self._files:
                self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Timer(max(self._first_end() - self._clock(), _LEAST_PAUSE), self.sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _first_end(self) -> float:
        ends = [kept[0] for kept in itertools.islice(self._parcels.values(), 1)]
        ends += [kept[0] for kept in itertools.islice(self._files.values(), 1)]
        return min(ends)

    def _forget(self) -> None:
        self._forget_files()
        while self._parcels:
            ends, parcel = next(iter(self._parcels.values()))
            if ends > self._clock() and self._n_bytes <= self._max_bytes:
                return
            self._parcels.popitem(last=False)
            self._n_bytes -= len(parcel.content)

    def _forget_files(self) -> None:
        # The newest stays even if it alone is too large: somebody is about to fetch it.
        while self._files:
            ends, parcel, _ = next(iter(self._files.values()))
            n_bytes = sum(size for _, _, size in self._files.values())
            if ends > self._clock() and (n_bytes <= self._max_file_bytes or len(self._files) == 1):
                return
            self._files.popitem(last=False)
            parcel.path.unlink(missing_ok=True)


PARCELS = Parcels()
"""Of this process. Visitors share it and cannot meet in it: only the page that it was sent to knows an address."""


def posted(value: dict[str, Any], parcels: Parcels = PARCELS) -> dict[str, Any]:
    """A figure or a table as an event may carry it: as it is while small, else the address of its parcel.

    Args:
        value: Plain data in which large arrays are numpy's.
        parcels: Where it is kept.
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
    return {"parcel": parcels.put(Parcel(content))}


def parcel_route(parcels: Parcels = PARCELS) -> Route:
    """Where pages fetch their parcels."""

    def answer(request: Request) -> Response:
        parcel = parcels.get(request.path_params["key"])
        if parcel is None:
            return PlainTextResponse("This is no longer kept. Press Score again.", status_code=404)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if parcel.file_name:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(parcel.file_name)}"
        if isinstance(parcel, FileParcel):
            return FileResponse(parcel.path, media_type=parcel.media_type, headers=headers)
        return Response(parcel.content, media_type=parcel.media_type, headers=headers)

    return Route(f"/{PATH}/{{key}}", answer, methods=["GET"])


def _as_sent(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Little-endian numbers of four bytes, as the page's script reads them."""
    return np.ascontiguousarray(array, "<f4" if array.dtype.kind == "f" else "<i4")
