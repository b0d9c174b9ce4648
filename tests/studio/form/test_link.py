"""What a link holds is checked like anything that comes from strangers."""

from __future__ import annotations

import json

import pytest

from e5studio.errors import UnknownModelError
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.engine.text_box import Limits
from e5studio.studio.form.link import FIELDS, LinkError, SharedForm, read_link
from e5studio.studio.form.share_link import pack_script
from e5studio.studio.map.placing import MapSettings
from e5studio.studio.page.view_state import VIEW_FIELDS, PendingView, SharedView, read_view, saved_state, view_for
from tests.studio.conftest import ENGLISH, OFFLINE

LIMITS = Limits(max_characters=1000)
STATE = {
    "model": ENGLISH,
    "prompt_mode": "symmetric",
    "queries": "one\ntwo",
    "passages": "",
    "instruction": "",
    "separator": "blank_line",
}


def test_a_link_brings_back_what_it_was_made_of():
    assert read_link(STATE, Catalog(), LIMITS) == SharedForm(**STATE)


def test_a_use_that_the_model_does_not_know_becomes_its_usual_one():
    assert read_link({**STATE, "model": OFFLINE}, Catalog(), LIMITS).prompt_mode == "none"
    assert read_link({**STATE, "prompt_mode": "<b>"}, Catalog(), LIMITS).prompt_mode == "retrieval"


def test_what_is_no_separator_is_a_line():
    assert read_link({**STATE, "separator": "../.."}, Catalog(), LIMITS).separator == "line"


@pytest.mark.parametrize(
    "state", [None, [], "text", {}, {**STATE, "queries": 7}, {**STATE, "model": None}, {**STATE, "passages": ["a"]}]
)
def test_damaged(state):
    with pytest.raises(LinkError, match=r"damaged\..* A file of texts goes to the Corpus tab\.$"):
        read_link(state, Catalog(), LIMITS)


def test_too_long():
    with pytest.raises(LinkError, match="1,001 characters"):
        read_link({**STATE, "queries": "x" * 1001}, Catalog(), LIMITS)


@pytest.mark.parametrize("model", ["/etc/passwd", "someone/else", ""])
def test_only_models_that_are_offered(model):
    with pytest.raises(UnknownModelError):
        read_link({**STATE, "model": model}, Catalog(), LIMITS)


def test_script_packs_all_fields_in_their_order():
    assert json.dumps([FIELDS, VIEW_FIELDS]) in pack_script(FIELDS, VIEW_FIELDS)


def test_a_view_comes_back_as_it_was():
    view = SharedView("map", "group", MapSettings("umap", 3, 30, 0.5, 12, 7), "kept", (2, 5), "all")
    state = json.loads(json.dumps(saved_state(ScoreRequest(**STATE), view)))
    assert read_view(state) == view
    assert read_link(state, Catalog(), LIMITS) == SharedForm(**STATE)


@pytest.mark.parametrize(
    "view",
    [
        None,
        [],
        {},
        {"tab": "<b>", "order": 3, "shading": [], "colour": None, "cell": [1, 2], "method": {}, "n_dims": "x"},
    ],
)
def test_an_odd_view_is_the_usual_one(view):
    assert read_view({**STATE, "view": view}) == SharedView()


@pytest.mark.parametrize("cell", [{"row": -1, "column": 0}, {"row": True, "column": 0}, {"row": 1}, {"row": "1"}, 7])
def test_a_cell_that_is_none_is_not_opened(cell):
    assert read_view({"view": {"cell": cell}}).cell is None


def test_texts_come_as_a_box_gives_them_back():
    form = read_link({**STATE, "queries": "one\r\ntwo\rthree \ud800"}, Catalog(), LIMITS)
    assert form.queries == "one\ntwo\nthree \ufffd"


def test_a_view_belongs_to_its_own_texts(engine):
    state = {**STATE, "passages": "three"}
    pending_view = PendingView(read_link(state, Catalog(), LIMITS), SharedView("map"))
    assert view_for(pending_view, engine.score(ScoreRequest(**state))) == SharedView("map")
    assert view_for(pending_view, engine.score(ScoreRequest(**{**state, "passages": "four"}))) is None
    assert view_for(None, engine.score(ScoreRequest(**state))) is None
