"""Resident memory of this process, as /proc tells it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

_PERIOD = 0.05  # seconds between two looks at the memory


class Watch:
    """The largest resident memory since the last look, in MB, seen by a thread that looks all the time."""

    def __init__(self) -> None:
        self._largest = 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def largest(self) -> float:
        """And begin anew."""
        found, self._largest = max(self._largest, resident_mb()), 0.0
        return round(found, 1)

    def _look(self) -> None:
        while True:
            self._largest = max(self._largest, resident_mb())
            time.sleep(_PERIOD)


def resident_mb() -> float:
    """What is resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
