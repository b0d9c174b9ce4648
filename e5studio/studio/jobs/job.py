"""Work in progress: what is told of it while it runs, and whether its visitor asked to stop."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from e5studio.studio.errors import StoppedError

Result = TypeVar("Result")

_SECONDS_BETWEEN_NEWS = 0.2
_SECONDS_UNTIL_REPEATED = 5


@dataclass(frozen=True)
class Stage:
    """What is being done, and the share that is done where it is known."""

    share: float | None
    doing: str


class Job(Generic[Result]):
    """A function that runs in a thread while its stages are shown.

    Args:
        function: Called with a function to tell its stages to, which raises StoppedError once `stop` was called.
    """

    def __init__(self, function: Callable[[Callable[[float | None, str], None]], Result]) -> None:
        self._function = function
        self._future: Future[Result] = Future()
        self._latest: Stage | None = None
        self._is_stopped = threading.Event()
        self._done = threading.Event()
        # Gradio and ZeroGPU keep in context variables whose request this is.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name="e5studio-work", daemon=True).start()

    def stages(self) -> Iterator[Stage]:
        """The news, a few times a second, until the work has ended.

        What stays the same is said again every few seconds: only then does Gradio notice that a page is closed, and
        whoever waits for their turn would keep their place in the line.
        """
        shown, said = None, time.monotonic()
        while not self._done.wait(_SECONDS_BETWEEN_NEWS):
            is_due = time.monotonic() - said > _SECONDS_UNTIL_REPEATED
            if self._latest is not None and (self._latest != shown or is_due):
                shown, said = self._latest, time.monotonic()
                yield shown

    def result(self) -> Result:
        """What the function returned, or raises what it raised."""
        return self._future.result()

    def stop(self) -> None:
        """Have the work end the next time that it tells its stage."""
        self._is_stopped.set()

    def _tell(self, share: float | None, doing: str) -> None:
        if self._is_stopped.is_set():
            raise StoppedError
        self._latest = Stage(share, doing)

    def _run(self) -> None:
        try:
            self._future.set_result(self._function(self._tell))
        except BaseException as error:  # whoever asks for the result gets it
            self._future.set_exception(error)
        finally:
            self._done.set()


class SessionJobs:
    """The work of each visitor, so that a Stop button finds its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works: dict[str, Job[object]] = {}

    def start(self, session: str, work: Job[Result]) -> Job[Result]:
        """Remember a visitor's work."""
        with self._lock:
            self._works[session] = work  # type: ignore[assignment]  # only stopped here, never read
        return work

    def stop(self, session: str) -> None:
        """Stop a visitor's work; nothing happens where none runs."""
        with self._lock:
            work = self._works.get(session)
        if work is not None:
            work.stop()

    def end(self, session: str, work: Job[Result]) -> None:
        """Stop a work of a visitor and forget it; another that they began since goes on."""
        work.stop()
        with self._lock:
            if self._works.get(session) is work:
                del self._works[session]


class StopSignals:
    """A sign for each visitor for whom something is streamed, so that whatever they do next can end it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signs: dict[str, threading.Event] = {}

    def start(self, session: str) -> threading.Event:
        """The sign that a new stream looks at; the one before, if it still runs, is to end."""
        sign = threading.Event()
        with self._lock:
            before = self._signs.get(session)
            self._signs[session] = sign
        if before is not None:
            before.set()
        return sign

    def stop(self, session: str) -> None:
        """Have a visitor's stream end at its next step; nothing happens where none runs."""
        with self._lock:
            sign = self._signs.get(session)
        if sign is not None:
            sign.set()

    def end(self, session: str, sign: threading.Event) -> None:
        """Forget a stream that has ended, and no other that began since."""
        with self._lock:
            if self._signs.get(session) is sign:
                del self._signs[session]
