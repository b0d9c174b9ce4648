"""Long work in threads: its progress while it runs, its result, and its visitor's wish to stop it."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from e5studio.studio.engine.progress import OnStage
from e5studio.studio.errors import StoppedError

Result = TypeVar("Result")

_SECONDS_BETWEEN_STAGES = 0.2
_SECONDS_UNTIL_REPEATED = 5


@dataclass(frozen=True)
class Stage:
    """What a job is doing, and the share that is done, if known."""

    share: float | None
    doing: str


class Job(Generic[Result]):
    """A function that runs in a thread, once it begins, and reports its stages.

    Args:
        function: Called with a function that takes its stages, and raises StoppedError once the job is stopped.
    """

    def __init__(self, function: Callable[[OnStage], Result]) -> None:
        self._function = function
        self._future: Future[Result] = Future()
        self._latest: Stage | None = None
        self._is_stopped = threading.Event()
        self._done = threading.Event()
        # Context variables hold the session that the job runs for.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="e5studio-work", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stages(self) -> Iterator[Stage]:
        """New stages, a few times a second, until the job has ended.

        A stage that lasts is repeated every few seconds: Gradio notices only then that a page is closed, and a visitor
        who has left would hold a place in the queue.
        """
        latest, shown_at = None, time.monotonic()
        while not self._done.wait(_SECONDS_BETWEEN_STAGES):
            is_old = time.monotonic() - shown_at > _SECONDS_UNTIL_REPEATED
            if self._latest is not None and (self._latest != latest or is_old):
                latest, shown_at = self._latest, time.monotonic()
                yield latest

    def result(self) -> Result:
        """The function's result; raises its exception."""
        return self._future.result()

    def stop(self) -> None:
        """Have the job end when it next reports a stage."""
        self._is_stopped.set()

    def _report(self, share: float | None, doing: str) -> None:
        if self._is_stopped.is_set():
            raise StoppedError
        self._latest = Stage(share, doing)

    def _run(self) -> None:
        try:
            self._future.set_result(self._function(self._report))
        except BaseException as error:  # `result` raises it
            self._future.set_exception(error)
        finally:
            self._done.set()


class StopSignal(threading.Event):
    """Asks work that runs without a `Job`, such as a stream of results, to end at its next step."""

    def stop(self) -> None:
        """Ask it to end."""
        self.set()


Stoppable = Job[Any] | StopSignal
Work = TypeVar("Work", bound=Stoppable)


class SessionJobs:
    """The latest job of each visitor, so that a Stop button, or the visitor's next job, ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Stoppable] = {}

    def start(self, session: str, job: Work) -> Work:
        """Remember a visitor's job; stops the one before if it still runs."""
        with self._lock:
            previous = self._jobs.get(session)
            self._jobs[session] = job
        if previous is not None:
            previous.stop()
        return job

    def is_latest(self, session: str, job: Stoppable) -> bool:
        """Whether the visitor has started no job since."""
        with self._lock:
            return self._jobs.get(session) is job

    def stop(self, session: str) -> None:
        """Stop a visitor's job, if one runs."""
        with self._lock:
            job = self._jobs.get(session)
        if job is not None:
            job.stop()

    def end(self, session: str, job: Stoppable) -> None:
        """Stop a job and forget it, but not a later one of the same visitor."""
        job.stop()
        with self._lock:
            if self._jobs.get(session) is job:
                del self._jobs[session]
