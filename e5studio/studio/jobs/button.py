"""Long work behind a button: its progress, a stop button, and its result or its error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import gradio as gr

from e5studio.errors import E5StudioError
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.jobs.job import Job, SessionJobs
from e5studio.studio.widgets import nodes

Result = TypeVar("Result")


@dataclass(frozen=True)
class JobButton:
    """A button that starts long work, a button that stops it, and its progress."""

    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    jobs: SessionJobs = field(default_factory=SessionJobs)

    def connect_stop(self) -> None:
        """Have the stop button stop its visitor's job."""

        def on_stop(request: gr.Request) -> None:
            self.jobs.stop(str(request.session_hash))

        self.stop.click(on_stop, **UNQUEUED)

    def run(
        self,
        request: gr.Request,
        function: Callable[[OnStage], Result],
        show: Callable[[Result], Changes],
        *,
        is_result_left: bool,
        is_asked: bool = True,
    ) -> Iterator[Changes]:
        """Run a function in a thread; yields the changes of its progress, then those of its result.

        Work that the same visitor starts meanwhile replaces this work, which then ends without a word.

        Args:
            request: Names the visitor.
            function: The work; takes a function that it reports its stages to.
            show: Its result -> changes, among them the status.
            is_result_left: Whether an earlier result stays on the page if this fails.
            is_asked: Whether a person pressed the button. Otherwise the work runs beside what they do: it shows itself
                only if it takes long, and what stands in its way, such as a box that is still empty, is a hint.
        """
        if is_asked:
            yield {
                self.start: gr.update(interactive=False),
                self.stop: gr.update(visible=True),
                self.status: nodes.progress(None, "Starting"),
            }
        idle = {self.start: gr.update(interactive=True), self.stop: gr.update(visible=False)}
        session = str(request.session_hash)
        job = self.jobs.start(session, Job(function))
        job.begin()  # when it is known as the latest: a later one may come at any moment
        try:
            for stage in job.stages():
                if self.jobs.is_latest(session, job):
                    yield {self.stop: gr.update(visible=True), self.status: nodes.progress(stage.share, stage.doing)}
            changes = show(job.result())
        except Exception as error:
            is_quiet = isinstance(error, StoppedError) or (isinstance(error, E5StudioError) and not is_asked)
            message = nodes.stopped if is_quiet else nodes.error
            changes = {self.status: message(message_for_visitor(error), is_result_left=is_result_left)}
        finally:
            is_latest = self.jobs.is_latest(session, job)
            self.jobs.end(session, job)  # also where the visitor has closed the page
        # Replaced work too: Gradio empties all outputs of an event that yields nothing, the button's name among them.
        yield {**idle, **changes} if is_latest else {}


def stopped_by(signal: threading.Event, on_stage: OnStage) -> OnStage:
    """A function that takes stages and raises StoppedError once a signal other than the Stop button is set."""

    def report(share: float | None, doing: str) -> None:
        if signal.is_set():
            raise StoppedError
        on_stage(share, doing)

    return report
