"""Messages say what is in sight, and can be read and sent."""

from __future__ import annotations

from e5studio.studio.widgets import nodes
from tests.studio.node_text import text_of


def test_an_error_says_so_where_an_earlier_result_is_still_in_sight():
    assert text_of(nodes.error("It failed.")) == "It failed."
    assert text_of(nodes.error("It failed.", is_result_left=True)) == "It failed. Showing the previous result."


def test_errors_are_short_enough_to_read_and_can_be_sent():
    text = text_of(nodes.error("\ud800" + "x" * 5000))
    assert len(text) < 1000
    text.encode()
