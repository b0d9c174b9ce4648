"""What is remembered of a visitor while work runs: whether Stop was pressed."""

from __future__ import annotations

import threading


class StoppedError(Exception):
    """The person pressed Stop."""


class StopFlags:
    """Which visitors asked to stop; asked by the work between batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}

    def start(self, session: str) -> threading.Event:
        """The flag of a visitor's new work."""
        with self._lock:
            flag = self._running[session] = threading.Event()
        return flag

    def stop(self, session: str) -> None:
        """Ask a visitor's work to stop; nothing happens where none runs."""
        with self._lock:
            flag = self._running.get(session)
        if flag is not None:
            flag.set()

    def end(self, session: str) -> None:
        """Forget a visitor's work."""
        with self._lock:
            self._running.pop(session, None)
