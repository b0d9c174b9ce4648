"""The callbacks of the Map tab change the components that they should."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from e5studio.errors import MissingDependencyError
from e5studio.studio.jobs.events import NOTHING_PENDING
from e5studio.studio.map.placing import COLOURS, METHODS
from e5studio.studio.map.tab import MapTab, nearest_passages
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
        changes = tab.on_colour(result, text_map, colour, "Q1", ()).changes
        assert "Q1" in text_of(changes[tab.panel.point])  # what was picked stays picked
    pick = SimpleNamespace(_data={"label": "P2"})
    changes = tab.on_pick(result, text_map, "role", None, (), pick).changes
    assert "Lines join P2" in text_of(changes[tab.panel.caption])
    assert "a river" in text_of(changes[tab.panel.point])
    assert tab.on_pick(result, text_map, "role", None, (), SimpleNamespace(_data={"label": ["P2"]})) == NOTHING_PENDING


@pytest.mark.parametrize("method", [method for method in METHODS if method != "umap"])
def test_texts_are_placed_as_the_settings_say(tab, result, method):
    pending = gr.State(None)
    progress, last = tab.on_settings(pending, result, "best", method, 3, 15, 0.1, 2, 0)
    assert set(progress) == {tab.panel.status}
    changes = last[pending].changes
    assert changes[tab.text_map].coordinates.shape == (6, 3)
    assert {tab.panel.plot, tab.panel.caption, tab.table, tab.text_map} <= set(changes)
    assert list(tab.on_settings(pending, None, "best", method, 3)) == [{pending: NOTHING_PENDING}]


def test_a_map_that_comes_late_has_the_colours_that_are_chosen_by_then(tab, result):
    pending = gr.State(None)
    *_, last = tab.on_settings(pending, result, "role", "axis", 2, 15, 0.1, 2, 0)
    output = last[pending]
    changes = tab.on_placed(result, output, "cluster", "axis", 2, 15, 0.1, 2, 0)
    assert tab.on_placed(result, output, "cluster", "pca", 2, 15, 0.1, 2, 0) == {}  # its own map comes
    expected = tab.on_colour(result, changes[tab.text_map], "cluster", None, ()).changes
    assert text_of(changes[tab.panel.caption]) == text_of(expected[tab.panel.caption])
    assert text_of(changes[tab.panel.caption]) != text_of(output.changes[tab.panel.caption])


def test_a_map_of_an_earlier_result_changes_nothing(tab, result, score):
    text_map = tab.show(score("one\ntwo", "three"))[tab.text_map]
    assert tab.on_colour(result, text_map, "best", None, ()) == NOTHING_PENDING
    assert tab.on_gather(result, text_map, SimpleNamespace(_data={"labels": ["Q1"]})) == {}


def test_few_texts_of_one_side_can_be_placed_by_pca_alone(tab, score):
    shown = tab.show(score("one\ntwo", "", prompt_mode="symmetric"))
    assert [choice["value"] for choice in shown[tab.panel.method]["choices"] if not choice["reason"]] == ["pca"]


def test_a_failed_map_leaves_the_one_before(tab, result, monkeypatch):
    def fail(*_, **__):
        raise MissingDependencyError("UMAP needs the package umap-learn, which is not installed.")

    monkeypatch.setattr("e5studio.studio.map.placing.umap", fail)
    pending = gr.State(None)
    *_, last = tab.on_settings(pending, result, "role", "umap", 2, 15, 0.1, 30, 0)
    assert set(last[pending].changes) == {tab.panel.status}
    assert "umap-learn" in text_of(last[pending].changes[tab.panel.status])


def test_a_loop_lists_its_texts(tab, result):
    text_map = tab.show(result)[tab.text_map]
    changes = tab.on_gather(result, text_map, SimpleNamespace(_data={"labels": ["Q1", "P3"]}))
    assert [label for label, _ in changes[tab.panel.chosen]["texts"][0]] == ["Q1", "P3"]
    assert tab.on_gather(result, text_map, SimpleNamespace(_data={"labels": []})) == {}


def test_a_search_lights_up_and_lists_the_nearest_passages(tab, result, encoders):
    text_map, pending = tab.show(result)[tab.text_map], gr.State(None)
    _, last = tab.on_search(pending, result, text_map, "role", "a high mountain")
    changes = last[pending].changes
    wanted = 100 * encoders("e5").encode_query(["a high mountain"])[0] @ result.vectors[3:].T
    best = np.argsort(-wanted)
    assert changes[tab.hits] == tuple(3 + best)
    listed = changes[tab.panel.chosen]
    assert [label for label, _ in listed["texts"][0]] == [f"P{row + 1}" for row in best]
    assert [row[0] for row in listed["rows"]] == [0, 1, 2]  # a click picks the text of the first cell
    assert [row[2] for row in listed["rows"]] == pytest.approx(wanted[best], abs=0.01)
    assert "The 3 hits of the search light up" in text_of(changes[tab.panel.caption])

    coloured = tab.on_colour(result, text_map, "best", None, changes[tab.hits]).changes
    assert "light up" in text_of(coloured[tab.panel.caption])  # also in other colours
    [last] = tab.on_search(pending, result, text_map, "best")
    dropped = last[pending].changes
    assert (dropped[tab.hits], dropped[tab.panel.chosen]) == ((), None)
    assert "light up" not in text_of(dropped[tab.panel.caption])


def test_texts_that_were_compared_with_each_other_are_searched_too(engine, score):
    result = score("a mountain\na river\na stone", "", prompt_mode="symmetric")
    hits = nearest_passages(engine, result, "the river")
    assert next(iter(hits)) == 1
    assert list(hits.values()) == sorted(hits.values(), reverse=True)
