"""The panel explains the pair that was picked last."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from e5studio.errors import BackendError
from e5studio.studio.jobs.events import NOTHING_PENDING, PendingOutput
from e5studio.studio.services import Services
from e5studio.studio.why.panel import WhyPanel
from tests.studio.node_text import text_of

# Gradio leaves event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]

VISITOR = SimpleNamespace(session_hash="of one visitor")


def click(row, column):
    return SimpleNamespace(_data={"row": row, "column": column})


@pytest.fixture
def panel(engine):
    with gr.Blocks():
        return WhyPanel(Services(engine))


def test_a_pair_that_is_explained_late_does_not_replace_the_one_picked_after_it(panel, score, monkeypatch):
    result = score("one\ntwo", "three\nfour")
    explain = panel._explain_pair
    outputs = {}

    def explain_late(of, row, column):
        if (row, column) == (0, 0):  # somebody clicks on while this pair waits for the model
            outputs["later"] = panel.on_pick(result, click(1, 1), VISITOR)
        return explain(of, row, column)

    monkeypatch.setattr(panel, "_explain_pair", explain_late)
    outputs["earlier"] = panel.on_pick(result, click(0, 0), VISITOR)
    assert outputs["earlier"] == {}
    assert isinstance(outputs["later"], PendingOutput)
    assert outputs["later"].changes[panel.cell] == {"row": 1, "column": 1}
    again = panel.on_pick(result, click(0, 1), VISITOR)
    assert again.changes[panel.cell] == {"row": 0, "column": 1}


def test_a_click_is_answered_before_the_model_has_read_anything(panel, score, monkeypatch):
    result = score("one\ntwo", "three\nfour")
    monkeypatch.setattr(panel, "_explain_pair", None)
    changes = panel.on_show(result, click(0, 1), VISITOR)
    text = text_of(changes[panel.card])
    assert "for Q1" in text
    assert "four" in text
    assert panel.on_show(result, click(5, 1), VISITOR) == {}


def test_what_goes_wrong_is_said_in_the_card_beside_the_verdict(panel, score, monkeypatch):
    def fail(*_):
        raise BackendError("No back end here gives the vectors of tokens.")

    monkeypatch.setattr(panel, "_explain_pair", fail)
    text = text_of(panel.explain(score("one", "three\nfour"), 0, 0)[panel.card])
    assert "for Q1" in text
    assert "No back end here" in text


def test_a_forged_sentence_leaves_nothing_out(panel, score):
    result = score("one\ntwo", "three\nfour")
    explanation = panel.explain(result, 0, 0)[panel.explained]
    for key in ("9:9", "1:-1", None, ["1:0"]):
        assert list(panel.on_leave_words_out(result, explanation, SimpleNamespace(_data={"key": key}), VISITOR)) == [{}]


def test_a_cell_that_is_none_leaves_nothing_to_show(panel, score):
    result = score("one\ntwo", "three\nfour")
    assert panel.on_pick(result, click("0", None), VISITOR) is NOTHING_PENDING
    assert panel.on_pick(None, click(0, 0), VISITOR) is NOTHING_PENDING
