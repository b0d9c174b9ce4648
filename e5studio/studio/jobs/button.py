"""Long work behind a button: its stages while it runs, a stop button, and what came of it or what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.jobs.job import Job, SessionJobs
from e5studio.studio.widgets import nodes

Result = TypeVar("Result")


def run_with_progress(
    running: SessionJobs,
    request: gr.Request,
    function: Callable[[OnStage], Result],
    show: Callable[[Result], Sequence[Any]],
    *,
    n_shown: int,
    is_result_left: bool,
) -> Iterator[list[Any]]:
    """Run a function in a thread; yields values of the start button, the stop button, the status, and what is shown.

    Args:
        running: Where `listen_stop` finds it.
        request: Whose work it is.
        function: The work; it is given what it tells its stages to.
        show: Its result -> the status, then what is shown.
        n_shown: How many values are shown beside the status.
        is_result_left: An earlier result stays in sight where this fails.
    """
    kept = [gr.skip()] * n_shown
    yield [gr.update(interactive=False), gr.update(visible=True), nodes.progress(None, "Starting"), *kept]
    idle = [gr.update(interactive=True), gr.update(visible=False)]
    session = str(request.session_hash)
    work = running.start(session, Job(function))
    try:
        for stage in work.stages():
            yield [gr.skip(), gr.skip(), nodes.progress(stage.share, stage.doing), *kept]
        yield [*idle, *show(work.result())]
    except StoppedError as stopped:
        yield [*idle, nodes.stopped(message_for_visitor(stopped), is_result_left=is_result_left), *kept]
    except Exception as error:
        yield [*idle, nodes.error(message_for_visitor(error), is_result_left=is_result_left), *kept]
    finally:
        running.end(session, work)  # also where the visitor has closed the page


@dataclass(frozen=True)
class JobButton:
    """A button that starts long work, the one that stops it, and the line that tells how it goes."""

    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    jobs: SessionJobs = field(default_factory=SessionJobs)

    def connect_stop(self) -> None:
        """Have the stop button stop its visitor's work."""
        listen_stop(self.stop, self.jobs)

    def run(
        self,
        request: gr.Request,
        function: Callable[[OnStage], Result],
        show: Callable[[Result], Changes],
        *,
        is_result_left: bool,
    ) -> Iterator[Changes]:
        """Run a function in a thread; yields what changes on the page: the progress, then what `show` makes of it.

        Args:
            request: Whose work it is.
            function: The work; it is given what it reports its progress to.
            show: Its result -> what changes, the status among it.
            is_result_left: An earlier result stays in sight where this fails.
        """
        yield {
            self.start: gr.update(interactive=False),
            self.stop: gr.update(visible=True),
            self.status: nodes.progress(None, "Starting"),
        }
        idle = {self.start: gr.update(interactive=True), self.stop: gr.update(visible=False)}
        session = str(request.session_hash)
        job = self.jobs.start(session, Job(function))
        try:
            for stage in job.stages():
                yield {self.status: nodes.progress(stage.share, stage.doing)}
            yield {**idle, **show(job.result())}
        except StoppedError as stopped:
            status = nodes.stopped(message_for_visitor(stopped), is_result_left=is_result_left)
            yield {**idle, self.status: status}
        except Exception as error:
            yield {**idle, self.status: nodes.error(message_for_visitor(error), is_result_left=is_result_left)}
        finally:
            self.jobs.end(session, job)  # also where the visitor has closed the page


def listen_stop(button: gr.Button, running: SessionJobs) -> None:
    """Have a button stop its visitor's work."""

    def stop(request: gr.Request) -> None:
        running.stop(str(request.session_hash))

    button.click(stop, **UNQUEUED)


def stopped_by(sign: threading.Event, tell: OnStage) -> OnStage:
    """What a work tells its stages to, where something else than its Stop button may end it, too."""

    def tell_unless_stopped(share: float | None, doing: str) -> None:
        if sign.is_set():
            raise StoppedError
        tell(share, doing)

    return tell_unless_stopped
