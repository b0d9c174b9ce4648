"""Work in a thread: its stages, its result, its errors, and Stop."""

from __future__ import annotations

import contextvars
import threading

import pytest

from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.job import Job, SessionJobs, Stage, StopSignal


def begun(function):
    job = Job(function)
    job.begin()
    return job


def endless(on_stage):
    while True:
        on_stage(0.5, "Working")
        threading.Event().wait(0.01)


def test_the_result_comes_back():
    job = begun(lambda _: "done")
    assert list(job.stages()) == []
    assert job.result() == "done"


def test_what_goes_wrong_comes_back_too():
    def fail(_):
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        begun(fail).result()


def test_stages_are_reported_once_and_stop_ends_the_work():
    job = begun(endless)
    stages = job.stages()
    assert next(stages) == Stage(0.5, "Working")
    job.stop()
    assert list(stages) == []
    with pytest.raises(StoppedError):
        job.result()


def test_the_work_belongs_to_the_request_that_began_it():
    whose = contextvars.ContextVar("whose")
    whose.set("mine")
    assert begun(lambda _: whose.get()).result() == "mine"


def test_stop_reaches_the_visitors_own_work_only():
    running = SessionJobs()
    mine, other = running.start("me", begun(endless)), running.start("other", begun(endless))
    running.stop("me")
    with pytest.raises(StoppedError):
        mine.result()
    running.stop("nobody")
    assert next(other.stages()) == Stage(0.5, "Working")
    running.end("other", other)
    with pytest.raises(StoppedError):
        other.result()


def test_the_next_job_of_a_visitor_ends_the_one_before_which_leaves_it_alone():
    running = SessionJobs()
    first = running.start("me", begun(endless))
    second = running.start("me", begun(endless))
    with pytest.raises(StoppedError):
        first.result()
    running.end("me", first)
    assert next(second.stages()) == Stage(0.5, "Working")
    running.stop("me")
    with pytest.raises(StoppedError):
        second.result()
    running.end("me", second)
    assert not running._jobs


def test_a_stop_signal_is_for_its_own_visitor_and_gone_at_the_end():
    running = SessionJobs()
    mine, theirs = running.start("mine", StopSignal()), running.start("theirs", StopSignal())
    running.stop("mine")
    assert (mine.is_set(), theirs.is_set()) == (True, False)
    running.end("mine", mine)
    running.end("theirs", theirs)
    assert not running._jobs
