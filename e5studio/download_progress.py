"""Progress of a download: from the bars of the Hub's client to a function, without a stream to draw on."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from e5studio.streams import is_terminal

DownloadProgress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class ProgressListener:
    """Passes progress on, and remembers what its receiver raised: that is no fault of the download.

    Attributes:
        failure: What the receiver raised, if anything.
    """

    def __init__(self, progress: DownloadProgress) -> None:
        self._progress = progress
        self.failure: Exception | None = None

    @classmethod
    def of(cls, progress: DownloadProgress | None) -> ProgressListener | None:
        """A listener, or None where the client may draw its own bar on a terminal."""
        if progress is None and is_terminal(sys.stderr):
            return None
        return cls(progress or (lambda done, total: None))  # the client's bar needs a whole stream

    def bar(self) -> type[Any]:
        """A tqdm class that reports bytes to this listener and prints nothing."""
        from tqdm.auto import tqdm

        tell = self._tell

        class Reporting(tqdm):  # type: ignore[type-arg]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self._in_bytes = kwargs.get("unit") == "B"
                super().__init__(*args, **{**kwargs, "disable": False, "file": _NullStream()})

            def update(self, n: float | None = 1) -> bool | None:
                shown = super().update(n)
                if self._in_bytes and self.total:
                    tell(int(self.n), int(self.total))
                return shown

        return Reporting

    def _tell(self, done: int, total: int) -> None:
        try:
            self._progress(done, total)
        except Exception as error:
            self.failure = error
            raise


class _NullStream(io.TextIOBase):
    """A text stream that discards what is written."""

    def write(self, text: str) -> int:
        return len(text)
