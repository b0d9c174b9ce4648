"""What is scored before anybody asks: the first example, and a few texts as they are typed; no model is fetched."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from e5studio.default_model import ModelChoice
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.form.link import FIELDS, SharedForm
from e5studio.studio.map.placing import MapSettings, place_texts
from e5studio.studio.page import app
from e5studio.studio.page.view_state import PendingView, SharedView
from e5studio.studio.services import Services
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE
from tests.studio.node_text import text_of

# Gradio leaves event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]
VISITOR = SimpleNamespace(session_hash="of one visitor")
CHOICES = ("role", "pca", 2, 15, 0.1, 30, 0)  # what the map begins with


@pytest.fixture(scope="module")
def page(engine):
    with gr.Blocks():
        return app._Page(Services(engine), ModelChoice(ENGLISH, "these are tests"))


@pytest.fixture
def score(page, monkeypatch):
    """Score as the page does for a cause; the final changes."""
    monkeypatch.setattr(Catalog, "is_here", lambda _, meta: meta.name == OFFLINE)

    def score(cause, model, passages="two"):
        event, look = SimpleNamespace(_data={"cause": cause}), ("written", "row")
        return list(page.on_score(None, None, *look, event, VISITOR, model, "retrieval", "one", passages, "", "line"))[
            -1
        ]

    return score


@pytest.mark.parametrize(
    ("cause", "model", "is_scored"),
    [
        ("arrival", ENGLISH, True),  # the model that the page starts with is fetched anyway
        ("arrival", INSTRUCT, False),
        ("typing", ENGLISH, False),
        ("typing", OFFLINE, True),
        ("press", INSTRUCT, True),
        ("filled", ENGLISH, True),
    ],
)
def test_no_model_is_fetched_unless_somebody_asks(page, score, cause, model, is_scored):
    assert (page.result in score(cause, model)) == is_scored


def test_no_quota_is_spent_unless_somebody_asks(page, score, monkeypatch):
    monkeypatch.setattr(app, "is_zero_gpu", lambda: True)
    assert [page.result in score(cause, OFFLINE) for cause in ("arrival", "typing", "press")] == [False, False, True]


def test_half_written_texts_are_no_error_until_somebody_asks(page, score):
    typed, pressed = (score(cause, OFFLINE, passages="")[page.form.status] for cause in ("typing", "press"))
    assert text_of(typed) == text_of(pressed)
    assert [typed[0][1], pressed[0][1]] == ["e5-hint", "e5-error"]


def test_a_result_tells_the_strip_what_it_is_of(page, score):
    assert score("press", OFFLINE)[page.stale]["in_words"] == "all-MiniLM-L6-v2, 1 × 1"


def test_the_map_is_that_of_the_latest_scores_where_an_older_one_is_ready_last(page, engine):
    older, latest = (engine.score(ScoreRequest(ENGLISH, "retrieval", "one", texts)) for texts in ("two", "two\nthree"))
    pending = page.on_scored(older, None, None, *CHOICES)
    shown = page.on_placed(latest, None, None, pending, *CHOICES)
    assert shown[page.map.text_map].of == latest.key
    assert page.on_placed(latest, shown[page.map.text_map], None, pending, *CHOICES) == {}


def test_the_map_of_new_texts_is_made_as_the_one_before(page, engine):
    texts = engine.score(ScoreRequest(ENGLISH, "retrieval", "one", "two\nthree\nfour\nfive"))
    drawn = page.on_scored(texts, None, None, "tokens", "axis", 3, 15, 0.1, 30, 0)
    shown = page.on_placed(texts, None, None, drawn, "tokens", "axis", 3, 15, 0.1, 30, 0)
    assert shown[page.map.text_map].settings == MapSettings("axis", 3)
    assert "value" not in shown[page.map.panel.method]  # what is chosen meanwhile stays
    assert page.map.panel.colour not in shown
    changed = page.on_placed(texts, None, None, drawn, *CHOICES)
    assert changed[page.map.text_map].settings == MapSettings()


def test_a_link_decides_over_what_was_chosen_for_the_map(page, engine):
    request = ScoreRequest(ENGLISH, "retrieval", "one", "two\nthree\nfour\nfive")
    opened = PendingView(
        SharedForm(*(getattr(request, name) for name in FIELDS)), SharedView(placing=MapSettings("umap"))
    )
    changes = page.on_scored(engine.score(request), None, opened, *CHOICES).changes
    assert (changes[page.map.panel.method]["value"], changes[page.map.panel.colour]) == ("umap", "role")
    assert changes[page.map.text_map].instead_of == "umap"
    assert changes[page.form.link]["then"] == "restore"


def test_the_look_of_the_matrix_stays_as_chosen(page, engine):
    event = SimpleNamespace(_data={"cause": "press"})

    def look(order, shading, model=ENGLISH, before=None):
        typed = model, "retrieval", "one\ntwo", "two\nthree", "", "line"
        changes = list(page.on_score(before, None, order, shading, event, VISITOR, *typed))[-1]
        return changes[page.result], changes[page.scores.order], changes[page.scores.shading]

    first, *usual = look("score", "all")
    assert usual == ["score", "row"]  # nothing was shown before
    assert look("score", "all", before=first)[1:] == ("score", "all")
    assert look("written", "row", OFFLINE, before=first)[1:] == ("written", "all")  # the usual one was not chosen


def test_the_map_stays_as_chosen_where_the_same_texts_are_scored_again(page, engine):
    request = ScoreRequest(ENGLISH, "retrieval", "one", "two\nthree")
    first = engine.score(request)
    text_map = place_texts(first, MapSettings(method="axis"))
    again = engine.score(request, before=[first])
    assert page.on_placed(again, text_map, None, page.on_scored(again, text_map, None, *CHOICES), *CHOICES) == {}
    opened = PendingView(SharedForm(*(getattr(request, name) for name in FIELDS)), SharedView(colour="tokens"))
    drawn = page.on_scored(again, text_map, opened, *CHOICES)
    assert page.on_placed(again, text_map, opened, drawn, *CHOICES)[page.map.panel.label] is None
