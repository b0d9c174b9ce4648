"""Which models the page offers, and which one it starts with."""

from __future__ import annotations

import pytest

from e5studio.errors import UnknownModelError
from e5studio.hub import ModelFiles
from e5studio.models import list_models
from e5studio.studio.engine import catalog
from e5studio.studio.engine.catalog import OFFLINE_MODEL, PREFERRED_MODEL, choose_model, model_cards, offered


def only_here(monkeypatch, tmp_path, *names):
    files = ModelFiles(tmp_path, "cache", "abc")
    monkeypatch.setattr(catalog, "find_local", lambda meta: files if meta.name in names else None)


def refuse():
    raise AssertionError("the Hub was asked")


def test_the_model_that_was_asked_for_wins():
    choice = choose_model("multilingual-e5-base", hub_is_there=refuse)
    assert choice.name == "intfloat/multilingual-e5-base"
    assert "chosen" in choice.reason


def test_an_unknown_name_is_an_error_with_suggestions():
    with pytest.raises(UnknownModelError, match="Did you mean"):
        choose_model("e5-smal-v2", hub_is_there=refuse)


def test_the_cached_usual_model_needs_no_hub(monkeypatch, tmp_path):
    only_here(monkeypatch, tmp_path, PREFERRED_MODEL)
    assert choose_model(None, hub_is_there=refuse).name == PREFERRED_MODEL


def test_with_a_hub_the_usual_model_is_downloaded_and_the_size_is_said(monkeypatch, tmp_path):
    only_here(monkeypatch, tmp_path)
    choice = choose_model(None, hub_is_there=lambda: True)
    assert choice.name == PREFERRED_MODEL
    assert "132 MB" in choice.reason


@pytest.mark.parametrize("asked", [None, ""])
def test_without_a_hub_it_is_the_offline_copy_and_the_page_can_say_why(monkeypatch, tmp_path, asked):
    only_here(monkeypatch, tmp_path)
    choice = choose_model(asked, hub_is_there=lambda: False)
    assert choice.name == OFFLINE_MODEL
    assert "does not answer" in choice.reason


def test_every_model_of_the_table_has_a_card_with_what_a_person_asks_of_it():
    cards = model_cards()
    assert [card.name for card in cards] == [meta.name for meta in list_models()]
    by_name = {card.short_name: card for card in cards}
    small = by_name["e5-small-v2"]
    assert (small.group, small.n_layers, small.embed_dim, small.parameters) == ("English", 12, 384, "33 M")
    assert (small.languages, small.prompts, small.download, small.is_here) == (
        "English",
        "query and passage",
        "132 MB",
        False,
    )
    assert by_name["multilingual-e5-large-instruct"].languages == "100 languages"
    assert by_name["e5-mistral-7b-instruct"].parameters == "7.1 B"
    assert by_name["e5-mistral-7b-instruct"].download == "14.2 GB"


@pytest.mark.parametrize("name", ["/etc", "../model", "someone/else", "x" * 300, ""])
def test_nothing_but_the_table_can_be_asked_for_over_the_wire(name):
    with pytest.raises(UnknownModelError) as caught:
        offered(name)
    assert len(str(caught.value)) < 700
