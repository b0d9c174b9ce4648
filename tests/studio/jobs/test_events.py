"""What an event leaves is shown only beside what it was made for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from e5studio.studio.jobs.events import NOTHING_PENDING, PendingOutput, show_if_current


class Event:
    """Keeps the function that follows."""

    def then(self, show, inputs, outputs, **_):
        self.show, self.inputs = show, inputs


@pytest.fixture
def event():
    return Event()


RESULT = SimpleNamespace(key="of the page")
OUTPUT = PendingOutput("of the page", {"code": "curl"}, ("curl",))


def test_what_was_made_for_another_result_is_dropped(event):
    show_if_current(event, "pending", "result", ["code"])
    assert event.show(RESULT, PendingOutput("of the page", {"code": "new"})) == {"code": "new"}
    for result, output in ((RESULT, PendingOutput("earlier", {"code": "old"})), (None, OUTPUT), (RESULT, None)):
        assert event.show(result, output) == {}
    assert event.show(RESULT, NOTHING_PENDING) == {}


def test_what_was_made_for_another_choice_is_dropped_or_made_again(event):
    show_if_current(event, "pending", "result", ["code"], ["target"])
    assert event.inputs == ["result", "pending", "target"]
    assert event.show(RESULT, OUTPUT, "curl") == {"code": "curl"}
    assert event.show(RESULT, OUTPUT, "Python") == {}
    again = lambda result, output, target: {"code": target, "of": output.of}  # noqa: E731
    show_if_current(event, "pending", "result", ["code"], ["target"], again)
    assert event.show(RESULT, OUTPUT, "curl") == {"code": "curl"}
    assert event.show(RESULT, OUTPUT, "Python") == {"code": "Python", "of": "of the page"}
