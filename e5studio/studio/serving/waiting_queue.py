"""A bounded waiting line: whose turn it is, how long the others wait, and who is told at once that there is no room.

First come, first served, in threads of one process. Knows neither models nor Gradio.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from e5studio.studio.errors import FullError

OnWait = Callable[[float | None, str], None]
"""Called with (None, how long the wait is) while waiting; what it raises leaves the line."""

_SECONDS_BETWEEN_NEWS = 1.0
_FIRST_NEWS_SECONDS = 0.3  # most turns are shorter, and a sentence that only flashes up is noise
_REMEMBERED_TURNS = 20


class Queue(Protocol):
    """Where somebody waits for their turn."""

    def slot(self, on_wait: OnWait | None = None) -> AbstractContextManager[None]:
        """As `WaitingQueue.slot`."""


class WaitingQueue:
    """Lets a few work at once and others wait for their turn.

    Args:
        n_places: How many work at once.
        max_waiting: How many may wait; whoever comes then is refused at once.
        clock: Seconds that never go back.
    """

    def __init__(self, n_slots: int, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._n_places = n_slots
        self._max_waiting = max_waiting
        self._clock = clock
        self._moved = threading.Condition()
        self._waiting: deque[object] = deque()
        self._begun: list[float] = []  # when each of those who work now began
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_TURNS)
        self._process = os.getpid()

    @property
    def n_waiting(self) -> int:
        """How many wait for their turn now."""
        return len(self._waiting)

    @contextmanager
    def slot(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """Wait for a place and hold it until the end of the `with`.

        Args:
            on_wait: Told about once a second how many are before this one, and how long that may take.

        Raises:
            FullError: Too many wait already.
        """
        if os.getpid() != self._process:  # a forked process serves one visitor, who had their turn in its parent
            yield
            return
        begun = self._wait(on_wait or _say_nothing)
        try:
            yield
        finally:
            with self._moved:
                self._begun.remove(begun)
                self._durations.append(self._clock() - begun)
                self._moved.notify_all()

    def _wait(self, on_wait: OnWait) -> float:
        ticket = object()
        with self._moved:
            if len(self._begun) < self._n_places and not self._waiting:
                return self._begin()
            if len(self._waiting) >= self._max_waiting:
                raise FullError(self._full(), "Try again then.")
            self._waiting.append(ticket)
        pause = _FIRST_NEWS_SECONDS
        try:
            while (begun := self._take_place(ticket, pause)) is None:
                pause = _SECONDS_BETWEEN_NEWS
                on_wait(None, self._news(ticket))
            return begun
        except BaseException:
            with self._moved:
                self._waiting.remove(ticket)
                self._moved.notify_all()
            raise

    def _take_place(self, ticket: object, timeout: float) -> float | None:
        with self._moved:
            if not self._moved.wait_for(lambda: self._is_next(ticket), timeout):
                return None
            self._waiting.popleft()
            self._moved.notify_all()  # where several work at once there may be another place
            return self._begin()

    def _begin(self) -> float:
        self._begun.append(self._clock())
        return self._begun[-1]

    def _is_next(self, ticket: object) -> bool:
        return len(self._begun) < self._n_places and self._waiting[0] is ticket

    def _news(self, ticket: object) -> str:
        with self._moved:
            n_before = self._waiting.index(ticket) + len(self._begun)
            return f"Waiting for {_others(n_before)}{self._guess(n_before)}"

    def _full(self) -> str:
        n_before = len(self._waiting) + len(self._begun)
        wait = self._guess(n_before) or ", and nobody knows yet how long that takes"
        return f"The Studio is full: {_others(n_before)} came before{wait}."

    def _guess(self, n_before: int) -> str:
        """How long so many take, by the latest turns; who has worked for longer than usual may still take long."""
        if not self._durations:
            return ""
        usual = sum(self._durations) / len(self._durations)
        longest = max((self._clock() - begun for begun in self._begun), default=0.0)
        seconds = n_before / self._n_places * usual
        return f", at least {_time(seconds)}" if longest > 2 * usual + 1 else f", about {_time(seconds)}"


class ChainedQueue:
    """A line whose first waits in another line: however many wait here, only one of them does there.

    Args:
        line: The other.
        max_waiting: How many may wait here; whoever comes then is refused at once.
    """

    def __init__(self, line: Queue, max_waiting: int) -> None:
        self._line = line
        self._own = WaitingQueue(1, max_waiting)

    @contextmanager
    def slot(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """As `WaitingQueue.slot`."""
        with self._own.slot(on_wait), self._line.slot(on_wait):
            yield


def _others(count: int) -> str:
    return f"{count} other{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    if seconds < 90:
        whole = max(1, round(seconds))
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{round(seconds / 60)} minutes"


def _say_nothing(share: float | None, words: str) -> None:
    return None
