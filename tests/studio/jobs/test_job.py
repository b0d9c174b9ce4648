"""Work in a thread: its news, its result, its errors, and Stop."""

from __future__ import annotations

import contextvars
import threading

import pytest

from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.job import Job, SessionJobs, Stage, StopSignals


def endless(tell):
    while True:
        tell(0.5, "Working")
        threading.Event().wait(0.01)


def test_the_result_comes_back():
    work = Job(lambda tell: "done")
    assert list(work.stages()) == []
    assert work.result() == "done"


def test_what_goes_wrong_comes_back_too():
    def fail(tell):
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        Job(fail).result()


def test_news_are_told_once_and_stop_ends_the_work():
    work = Job(endless)
    news = work.stages()
    assert next(news) == Stage(0.5, "Working")
    work.stop()
    assert list(news) == []
    with pytest.raises(StoppedError):
        work.result()


def test_the_work_belongs_to_the_request_that_began_it():
    whose = contextvars.ContextVar("whose")
    whose.set("mine")
    assert Job(lambda tell: whose.get()).result() == "mine"


def test_stop_reaches_the_visitors_own_work_only():
    running = SessionJobs()
    mine, other = running.start("me", Job(endless)), running.start("other", Job(endless))
    running.stop("me")
    with pytest.raises(StoppedError):
        mine.result()
    running.stop("nobody")
    assert next(other.stages()) == Stage(0.5, "Working")
    running.end("other", other)
    with pytest.raises(StoppedError):
        other.result()


def test_a_work_that_ends_leaves_another_of_the_same_visitor_alone():
    running = SessionJobs()
    first = running.start("me", Job(lambda tell: "done"))
    second = running.start("me", Job(endless))
    running.end("me", first)
    assert next(second.stages()) == Stage(0.5, "Working")
    running.stop("me")
    with pytest.raises(StoppedError):
        second.result()
    running.end("me", second)
    assert not running._works


def test_a_stop_sign_is_for_its_own_visitor_and_gone_at_the_end():
    signs = StopSignals()
    mine, theirs = signs.start("mine"), signs.start("theirs")
    signs.stop("mine")
    signs.stop("nobody")
    assert mine.is_set()
    assert not theirs.is_set()
    signs.end("mine", mine)
    assert not signs.start("mine").is_set()


def test_a_stream_that_ends_late_takes_no_sign_of_the_next_one():
    signs = StopSignals()
    first = signs.start("me")
    second = signs.start("me")
    assert (first.is_set(), second.is_set()) == (True, False)
    signs.end("me", first)
    signs.stop("me")
    assert second.is_set()
    signs.end("me", second)
    assert not signs._signs
