"""What a button's work shows: its progress, its result, and nothing of work that later work replaced."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from e5studio.errors import TextError
from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.button import JobButton
from e5studio.studio.widgets import nodes
from tests.studio.jobs.test_job import endless

VISITOR = SimpleNamespace(session_hash="of one visitor")


@pytest.fixture
def button():
    return JobButton("start", "stop", "status")


def show(result):
    return {"status": nodes.done(result)}


def last(steps):
    return list(steps)[-1]["status"]


def test_a_press_shows_its_start_and_its_result(button):
    first, *_, final = button.run(VISITOR, lambda _: "ready", show, is_result_left=False)
    assert "Starting" in str(first["status"])
    assert final["status"] == nodes.done("ready")


def test_quick_work_that_nobody_asked_for_shows_its_result_alone(button):
    [only] = button.run(VISITOR, lambda _: "ready", show, is_result_left=False, is_asked=False)
    assert only["status"] == nodes.done("ready")


def test_work_that_is_replaced_ends_without_a_word(button):
    earlier = button.run(VISITOR, endless, show, is_result_left=False, is_asked=False)
    assert "Working" in str(next(earlier)["status"])
    assert last(button.run(VISITOR, lambda _: "later", show, is_result_left=False)) == nodes.done("later")
    assert list(earlier) == [{}]


def test_work_that_is_replaced_before_it_shows_anything_empties_nothing(button):
    """Of an event that yields nothing, Gradio sets every output to None."""
    later = []

    def replaced(_):
        later.extend(button.run(VISITOR, lambda _: "later", show, is_result_left=False))

    assert list(button.run(VISITOR, replaced, show, is_result_left=False, is_asked=False)) == [{}]
    assert later[-1]["status"] == nodes.done("later")


def test_what_is_still_being_typed_is_no_error(button):
    def refuse(_):
        raise TextError("There is nothing to read in Passages.")

    asked, by_itself = (
        last(button.run(VISITOR, refuse, show, is_result_left=False, is_asked=is_asked)) for is_asked in (True, False)
    )
    assert asked[0][1] == "e5-error"
    assert by_itself[0][1] == "e5-hint"


def test_a_stop_is_told(button):
    def stop(_):
        raise StoppedError

    assert last(button.run(VISITOR, stop, show, is_result_left=False)) == nodes.hint("Stopped.")
