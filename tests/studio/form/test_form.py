"""The form: an example brings the model that it needs, where one is here."""

from __future__ import annotations

import zlib
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from e5studio.default_model import ModelChoice
from e5studio.errors import UnknownModelError
from e5studio.models import FOUR_BIT_MODEL, list_models
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.form.examples import EXAMPLES
from e5studio.studio.form.form import Form, picker_models
from e5studio.studio.form.link import FIELDS
from e5studio.studio.form.stale_strip import results_of
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE
from tests.studio.node_text import text_of

# Gradio leaves event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]
EXAMPLE = {example.title: example for example in EXAMPLES}


@pytest.fixture(scope="module")
def form():
    with gr.Blocks():
        return Form(ModelChoice(OFFLINE, "these are tests"), Catalog())


@pytest.fixture
def models_here(monkeypatch):
    """Decides which models are on this machine."""
    names = set()
    monkeypatch.setattr(Catalog, "is_here", lambda _, meta: meta.name in names)
    return names


@pytest.mark.parametrize(
    ("title", "current", "here", "chosen"),
    [
        ("English", OFFLINE, {OFFLINE, FOUR_BIT_MODEL}, OFFLINE),
        ("Multilingual", OFFLINE, {OFFLINE, FOUR_BIT_MODEL}, FOUR_BIT_MODEL),
        ("Multilingual", OFFLINE, {OFFLINE, INSTRUCT, FOUR_BIT_MODEL}, INSTRUCT),
        ("Instruct", FOUR_BIT_MODEL, {FOUR_BIT_MODEL, INSTRUCT}, INSTRUCT),
        ("Instruct", FOUR_BIT_MODEL, {FOUR_BIT_MODEL}, FOUR_BIT_MODEL),
        ("Multilingual", INSTRUCT, {FOUR_BIT_MODEL}, INSTRUCT),
    ],
)
def test_an_example_takes_a_model_of_its_kind_that_is_here(form, models_here, title, current, here, chosen):
    models_here |= here
    changes = form.on_example(EXAMPLE[title], current)
    assert changes[form.picker] == chosen
    assert changes[form.queries]["value"] == "\n".join(EXAMPLE[title].queries)
    assert (changes[form.link]["then"] == "score") == (chosen in here)


def test_an_example_says_what_it_lacks(form, models_here):
    models_here |= {ENGLISH}
    lack = "needs a multilingual model, and none is on this machine"
    assert lack in text_of(form.on_example(EXAMPLE["Multilingual"], ENGLISH)[form.example])
    models_here |= {FOUR_BIT_MODEL}
    text = text_of(form.on_example(EXAMPLE["Multilingual"], ENGLISH)[form.example])
    assert "needs" not in text
    assert "multilingual-e5-small (4-bit) was chosen" in text


def test_the_picker_begins_with_what_is_here_and_what_is_recommended(models_here):
    models_here |= {OFFLINE}
    models = picker_models(Catalog())
    groups = list(dict.fromkeys(model["group"] for model in models))
    assert groups[:2] == ["On this machine", "Recommended"]
    assert models[0]["name"] == OFFLINE
    assert {ENGLISH, INSTRUCT} < {model["name"] for model in models if model["group"] == "Recommended"}
    assert len(models) == len(list_models())


def test_own_models_stay_together_at_the_top(monkeypatch):
    cards = [*Catalog().cards(), replace(Catalog().cards()[0], name="mine", group="Yours", is_here=True)]
    monkeypatch.setattr(Catalog, "cards", lambda _: cards)
    first = picker_models(Catalog())[0]
    assert (first["name"], first["group"]) == ("mine", "Yours")


def test_a_model_that_is_not_here_is_told_with_a_button_for_one_that_is(form, models_here):
    models_here |= {FOUR_BIT_MODEL}
    note = form.adapt(ENGLISH, "retrieval")[form.model_note]
    assert "e5-small-v2 is not on this machine (132 MB to download)." in text_of(note)
    assert ["pick", FOUR_BIT_MODEL, "Use multilingual-e5-small (4-bit)"] in note[0]
    changes = form.on_other_model("retrieval", SimpleNamespace(_data={"key": FOUR_BIT_MODEL}))
    assert (changes[form.picker], changes[form.link]["then"]) == (FOUR_BIT_MODEL, "score")
    assert "pick" not in str(changes[form.model_note])
    with pytest.raises(UnknownModelError):
        form.on_other_model("retrieval", SimpleNamespace(_data={"key": "/etc"}))


def test_a_model_that_is_no_e5_is_called_a_stand_in(form, models_here):
    models_here |= {OFFLINE, FOUR_BIT_MODEL}
    assert "This is not E5" in text_of(form.adapt(OFFLINE, "none")[form.model_note])
    assert form.adapt(FOUR_BIT_MODEL, "retrieval")[form.model_note] == []  # the page did not start with it


def test_the_strip_knows_the_form_by_marks_that_the_browser_can_make(score):
    """`zlib.crc32` is the CRC-32 of stale_strip.js; a lone surrogate is U+FFFD in a browser's bytes."""
    value = results_of(score("protein", "one \ud800"), "These scores are")
    assert value["in_words"] == "e5-small-v2, 1 × 1"
    assert len(value["marks"]) == len(FIELDS)
    assert value["marks"][FIELDS.index("queries")] == 0x98F8E1B2
    assert value["marks"][FIELDS.index("passages")] == zlib.crc32("one \ufffd".encode())
