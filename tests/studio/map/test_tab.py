"""The callbacks of the Map tab change the components that they should."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from e5studio.studio.jobs.events import NOTHING_PENDING
from e5studio.studio.map.placing import COLOURS, METHODS
from e5studio.studio.map.tab import MapTab
from e5studio.studio.services import Services
from tests.studio.node_text import text_of

# Gradio leaves event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]


@pytest.fixture
def tab(engine):
    with gr.Blocks():
        return MapTab(Services(engine))


@pytest.fixture
def result(score):
    return score("summit\nvalley\nprotein", "a mountain\na river\na stone")


def test_a_setting_a_colour_and_a_pick_change_the_picture(tab, result):
    text_map = tab.show(result)[tab.text_map]
    for colour in COLOURS:
        changes = tab.on_colour(result, text_map, colour).changes
        assert set(changes) == {tab.plot, tab.caption, tab.point}
    pick = SimpleNamespace(_data={"label": "P2"})
    changes = tab.on_pick(result, text_map, "role", pick).changes
    assert "Lines join P2" in text_of(changes[tab.caption])
    assert "a river" in text_of(changes[tab.point])
    assert tab.on_pick(result, text_map, "role", SimpleNamespace(_data={"label": ["P2"]})) == NOTHING_PENDING


@pytest.mark.parametrize("method", [method for method in METHODS if method != "umap"])
def test_texts_are_placed_as_the_settings_say(tab, result, method):
    pending = gr.State(None)
    progress, last = tab.on_settings(pending, result, "best", method, 3, 15, 0.1, 2, 0)
    assert set(progress) == {tab.caption}
    changes = last[pending].changes
    assert changes[tab.text_map].coordinates.shape == (6, 3)
    assert {tab.plot, tab.caption, tab.point, tab.table, tab.list_all, tab.text_map} == set(changes)
    assert list(tab.on_settings(pending, None, "best", method, 3)) == [{pending: NOTHING_PENDING}]


def test_a_map_of_an_earlier_result_changes_nothing(tab, result, score):
    text_map = tab.show(score("one\ntwo", "three"))[tab.text_map]
    assert tab.on_colour(result, text_map, "best") == NOTHING_PENDING
    assert tab.on_gather(result, text_map, SimpleNamespace(_data={"labels": ["Q1"]})) == {}
    assert tab.on_list_all(result, None) == {}
