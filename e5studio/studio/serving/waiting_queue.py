"""Bounded queues that report how long the wait is: first come, first served, for the threads of one process."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.errors import FullError
from e5studio.studio.formatting import count

_SECONDS_BETWEEN_REPORTS = 1.0
_FIRST_REPORT_SECONDS = 0.3  # most waits are shorter, and a sentence that only flashes up is noise
_REMEMBERED_DURATIONS = 20


class Queue(Protocol):
    """A queue with slots to wait for."""

    def slot(self, on_wait: OnStage | None = None) -> AbstractContextManager[None]:
        """As `WaitingQueue.slot`."""


class WaitingQueue:
    """Lets a few work at once and others wait for a slot.

    Args:
        n_slots: How many work at once.
        max_waiting: How many may wait; others are refused at once.
        clock: A clock that never goes back, in seconds.
    """

    def __init__(self, n_slots: int, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._n_slots = n_slots
        self._max_waiting = max_waiting
        self._clock = clock
        self._moved = threading.Condition()
        self._waiting: deque[object] = deque()
        self._starts: list[float] = []  # of those who work now
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_DURATIONS)
        self._process = os.getpid()

    @property
    def n_waiting(self) -> int:
        """How many wait for a slot now."""
        return len(self._waiting)

    @contextmanager
    def slot(self, on_wait: OnStage | None = None) -> Iterator[None]:
        """Wait for a slot and hold it until the end of the `with`.

        Args:
            on_wait: Called about once a second with None, and how many come before this one and how long that may take;
                an exception from it leaves the queue.

        Raises:
            FullError: Too many wait already.
        """
        if os.getpid() != self._process:  # a forked process serves one visitor, who had a slot in its parent
            yield
            return
        start = self._wait(on_wait or ignore_progress)
        try:
            yield
        finally:
            with self._moved:
                self._starts.remove(start)
                self._durations.append(self._clock() - start)
                self._moved.notify_all()

    def _wait(self, on_wait: OnStage) -> float:
        ticket = object()
        with self._moved:
            if len(self._starts) < self._n_slots and not self._waiting:
                return self._start()
            if len(self._waiting) >= self._max_waiting:
                raise FullError(self._full(), "Try again then.")
            self._waiting.append(ticket)
        pause = _FIRST_REPORT_SECONDS
        try:
            while (start := self._take_slot(ticket, pause)) is None:
                pause = _SECONDS_BETWEEN_REPORTS
                on_wait(None, self._report(ticket))
            return start
        except BaseException:
            with self._moved:
                self._waiting.remove(ticket)
                self._moved.notify_all()
            raise

    def _take_slot(self, ticket: object, timeout: float) -> float | None:
        with self._moved:
            if not self._moved.wait_for(lambda: self._is_next(ticket), timeout):
                return None
            self._waiting.popleft()
            self._moved.notify_all()  # another slot may be free
            return self._start()

    def _start(self) -> float:
        self._starts.append(self._clock())
        return self._starts[-1]

    def _is_next(self, ticket: object) -> bool:
        return len(self._starts) < self._n_slots and self._waiting[0] is ticket

    def _report(self, ticket: object) -> str:
        with self._moved:
            n_before = self._waiting.index(ticket) + len(self._starts)
            return f"Waiting for {count(n_before, 'other')}{self._estimate(n_before)}"

    def _full(self) -> str:
        n_before = len(self._waiting) + len(self._starts)
        wait = self._estimate(n_before) or ", and nobody knows yet how long that takes"
        return f"The Studio is full: {count(n_before, 'other')} came before{wait}."

    def _estimate(self, n_before: int) -> str:
        """How long so many take, by the latest durations; work that already takes longer may still take long."""
        if not self._durations:
            return ""
        usual = sum(self._durations) / len(self._durations)
        longest = max((self._clock() - start for start in self._starts), default=0.0)
        seconds = n_before / self._n_slots * usual
        return f", at least {_time(seconds)}" if longest > 2 * usual + 1 else f", about {_time(seconds)}"


class ChainedQueue:
    """A queue in front of another: however many wait here, only one of them waits there.

    Args:
        queue: The other.
        max_waiting: How many may wait here; others are refused at once.
    """

    def __init__(self, queue: Queue, max_waiting: int) -> None:
        self._queue = queue
        self._own = WaitingQueue(1, max_waiting)

    @contextmanager
    def slot(self, on_wait: OnStage | None = None) -> Iterator[None]:
        """As `WaitingQueue.slot`."""
        with self._own.slot(on_wait), self._queue.slot(on_wait):
            yield


def _time(seconds: float) -> str:
    return count(max(1, round(seconds)), "second") if seconds < 90 else f"{round(seconds / 60)} minutes"
