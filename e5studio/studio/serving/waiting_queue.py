"""Bounded queues that report how long the wait is, fair to each visitor, for the threads of one process.

Who works next is decided by weighted fair queueing (Demers, Keshav and Shenker, 1989): as if all visitors who wait had
been served at once, each at the same speed. A few texts do not wait behind the many long ones of others, and who sends
much waits behind who sends little, however many pages they open for it. Equals are served first come, first served.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.errors import FullError
from e5studio.studio.formatting import count
from e5studio.studio.serving.visitors import visitor_now

_SECONDS_BETWEEN_REPORTS = 1.0
_FIRST_REPORT_SECONDS = 0.3  # most waits are shorter, and a sentence that only flashes up is noise
_REMEMBERED_DURATIONS = 20
_TIMES_LESS = 2.0  # takes who displaces another in a full queue; nobody loses a place for a few letters


class Queue(Protocol):
    """A queue with slots to wait for."""

    def slot(self, on_wait: OnStage | None = None, cost: float = 1.0) -> AbstractContextManager[None]:
        """As `WaitingQueue.slot`."""

    def pause(self, on_wait: OnStage) -> None:
        """As `WaitingQueue.pause`."""


@dataclass(eq=False)
class _Work:
    """Work that waits or runs.

    Attributes:
        finish: When it would end, in units of cost, if all visitors were served at once.
        thread: The thread that does it.
        start: When it began, or went on; None while it waits.
        seconds: How long it ran before it was paused.
        is_displaced: Whether it lost its place to somebody who takes less.
    """

    visitor: str | None
    cost: float
    finish: float
    thread: int
    start: float | None = None
    seconds: float = 0.0
    is_displaced: bool = False


class WaitingQueue:
    """Lets a few work at once and others wait for a slot.

    Args:
        n_slots: How many work at once.
        max_waiting: How many may wait; the last of more is refused.
        clock: A clock that never goes back, in seconds.
        visitor: Gives the visitor who asks for a slot.
    """

    def __init__(
        self,
        n_slots: int,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
        visitor: Callable[[], str | None] = visitor_now,
    ) -> None:
        self._n_slots = n_slots
        self._max_waiting = max_waiting
        self._clock = clock
        self._visitor = visitor
        self._moved = threading.Condition()
        self._waiting: list[_Work] = []  # first come, first
        self._running: list[_Work] = []
        self._served = 0.0  # how much each visitor who waited all along would have been served
        self._finish_of: dict[str | None, float] = {}  # of the visitor's latest work
        self._durations: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED_DURATIONS)  # costs, seconds
        self._process = os.getpid()

    @property
    def n_waiting(self) -> int:
        """How many wait for a slot now."""
        return len(self._waiting)

    @contextmanager
    def slot(self, on_wait: OnStage | None = None, cost: float = 1.0) -> Iterator[None]:
        """Wait for a slot and hold it until the end of the `with`.

        Args:
            on_wait: Called about once a second with None, and how many come before this one and how long that may take;
                an exception from it leaves the queue.
            cost: How much work it is, compared with other work of this queue.

        Raises:
            FullError: Too many wait already, or come while this one waits and take less.
        """
        if os.getpid() != self._process:  # a forked process serves one visitor, who had a slot in its parent
            yield
            return
        with self._moved:
            work = self._enter(cost)
        self._wait(on_wait or ignore_progress, work)
        try:
            yield
        finally:
            with self._moved:
                if work in self._running:  # not where it was stopped in a pause
                    self._end(work)
                self._moved.notify_all()

    def pause(self, on_wait: OnStage) -> None:
        """Let others go first who would have, if they had been here before this thread's work began.

        Long work calls it now and then, so that a few texts wait for a batch of it and not for its end.

        Args:
            on_wait: As in `slot`.
        """
        with self._moved:
            work = next((each for each in self._running if each.thread == threading.get_ident()), None)
            if work is None or all(other.finish >= work.finish for other in self._waiting):
                return
            self._running.remove(work)
            work.seconds, work.start = self._seconds_of(work), None
            self._waiting.insert(0, work)
            self._moved.notify_all()
        self._wait(on_wait, work)

    def _wait(self, on_wait: OnStage, work: _Work) -> None:
        pause = _FIRST_REPORT_SECONDS
        try:
            while not self._take_slot(work, pause):
                pause = _SECONDS_BETWEEN_REPORTS
                on_wait(None, self._report(work))
        except BaseException:
            with self._moved:
                if work in self._waiting:
                    self._leave(work)
                self._moved.notify_all()
            raise

    def _enter(self, cost: float) -> _Work:
        """Begin work at once, or let it wait, in the place of the last one if the queue is full."""
        visitor = self._visitor()
        work = _Work(visitor, cost, max(self._served, self._finish_of.get(visitor, 0.0)) + cost, threading.get_ident())
        if len(self._running) < self._n_slots and not self._waiting:
            self._start(work)
            return work
        if len(self._waiting) >= self._max_waiting:
            last = max(
                (each for each in reversed(self._waiting) if not each.seconds),
                key=lambda each: each.finish,
                default=work,
            )
            if last.finish - self._served < _TIMES_LESS * (work.finish - self._served):
                raise self._full("Try again then.")
            last.is_displaced = True
            self._leave(last)
        self._finish_of[visitor] = work.finish
        self._waiting.append(work)
        self._moved.notify_all()
        return work

    def _leave(self, work: _Work) -> None:
        """Let work go that is not done; its visitor does not pay for it."""
        self._waiting.remove(work)
        if self._finish_of.get(work.visitor) == work.finish:
            self._finish_of[work.visitor] -= work.cost

    def _take_slot(self, work: _Work, timeout: float) -> bool:
        with self._moved:
            if not self._moved.wait_for(lambda: work.is_displaced or self._is_next(work), timeout):
                return work.start is not None
            if work.is_displaced:
                raise self._full("Try again then, or with fewer texts.")
            if work.start is None:
                self._waiting.remove(work)
                self._start(work)
                self._moved.notify_all()  # another slot may be free
            return True

    def _start(self, work: _Work) -> None:
        work.start = self._clock()
        self._running.append(work)
        self._finish_of[work.visitor] = max(work.finish, self._finish_of.get(work.visitor, 0.0))

    def _end(self, work: _Work) -> None:
        self._durations.append((work.cost, self._seconds_of(work)))
        self._served += work.cost / len({each.visitor for each in (*self._waiting, *self._running)})
        self._running.remove(work)
        self._finish_of = {visitor: finish for visitor, finish in self._finish_of.items() if finish > self._served}

    def _is_next(self, work: _Work) -> bool:
        if work.start is not None:
            return True
        return len(self._running) < self._n_slots and min(self._waiting, key=lambda each: each.finish) is work

    def _before(self, work: _Work) -> list[_Work]:
        """What is served before some work."""
        waiting = sorted(self._waiting, key=lambda each: each.finish)
        return [*self._running, *waiting[: waiting.index(work)]]

    def _report(self, work: _Work) -> str:
        with self._moved:
            if work not in self._waiting:  # it has just been displaced
                return "Waiting"
            before = self._before(work)
            return f"Waiting for {count(len(before), 'other')}{self._estimate(before)}"

    def _full(self, advice: str) -> FullError:
        before = [*self._running, *self._waiting]
        wait = self._estimate(before) or ", and nobody knows yet how long that takes"
        fact = f"The Studio is full: {count(len(before), 'other')} came before{wait}."
        return FullError(fact, advice, self._seconds_until(before))

    def _estimate(self, before: list[_Work]) -> str:
        """How long some work takes, for people."""
        seconds, usual = self._seconds_until(before), self._seconds_per_cost()
        if seconds is None or usual is None:
            return ""
        if any(self._seconds_of(work) > 2 * work.cost * usual + 1 for work in self._running):
            return ", longer than usual"
        return f", about {_time(seconds)}"

    def _seconds_until(self, before: list[_Work]) -> float | None:
        """How long some work takes; None if nobody knows."""
        usual = self._seconds_per_cost()
        if usual is None:
            return None
        return sum(max(0.0, work.cost * usual - self._seconds_of(work)) for work in before) / self._n_slots

    def _seconds_per_cost(self) -> float | None:
        """By the latest durations; None before the first."""
        if not self._durations:
            return None
        costs, durations = map(sum, zip(*self._durations, strict=True))
        return durations / costs

    def _seconds_of(self, work: _Work) -> float:
        """How long work has run."""
        return work.seconds + (0.0 if work.start is None else self._clock() - work.start)


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
    def slot(self, on_wait: OnStage | None = None, cost: float = 1.0) -> Iterator[None]:
        """As `WaitingQueue.slot`."""
        with self._own.slot(on_wait, cost), self._queue.slot(on_wait, cost):
            yield

    def pause(self, on_wait: OnStage) -> None:
        """As `WaitingQueue.pause`, for those who wait for the other queue only."""
        self._queue.pause(on_wait)


def _time(seconds: float) -> str:
    return count(max(1, round(seconds)), "second") if seconds < 90 else f"{round(seconds / 60)} minutes"
