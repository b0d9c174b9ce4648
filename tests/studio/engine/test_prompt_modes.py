"""How the texts are used: only what a model knows, and the right prompt on each side."""

from __future__ import annotations

import pytest

from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.prompt_modes import (
    prompt_modes_of,
    prompts_in_front,
    side_labels,
    takes_instruction,
    valid_prompt_mode,
)


def fronts(kind, prompt_mode, instruction=None):
    return tuple(prompt.text for prompt in prompts_in_front(kind, prompt_mode, instruction))


def test_a_model_offers_the_ways_it_was_trained_for_and_none():
    assert [choice.prompt_mode for choice in prompt_modes_of("query_passage")] == ["retrieval", "symmetric", "none"]
    assert [choice.prompt_mode for choice in prompt_modes_of("instruct")] == ["retrieval", "symmetric", "none"]
    assert [choice.prompt_mode for choice in prompt_modes_of("none")] == ["none"]


@pytest.mark.parametrize(
    ("kind", "prompt_mode", "valid"),
    [("none", "retrieval", "none"), ("instruct", "retrieval", "retrieval"), ("query_passage", "forged", "retrieval")],
)
def test_a_use_that_the_model_does_not_know_becomes_its_usual_one(kind, prompt_mode, valid):
    assert valid_prompt_mode(kind, prompt_mode) == valid


def test_prefix_models():
    assert fronts("query_passage", "retrieval") == ("query: ", "passage: ")
    assert fronts("query_passage", "symmetric") == ("query: ", "query: ")
    assert fronts("query_passage", "none") == ("", "")
    assert fronts("query_passage", "retrieval", "an instruction typed for another model") == ("query: ", "passage: ")


def test_instruct_models():
    assert fronts("instruct", "retrieval", " Find it. ") == ("Instruct: Find it.\nQuery: ", "")
    assert fronts("instruct", "symmetric", "Find it.") == ("Instruct: Find it.\nQuery: ",) * 2
    assert fronts("instruct", "none", "Find it.") == ("", "")


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_no_instruction_takes_the_cards_and_says_so(nothing):
    query, _ = prompts_in_front("instruct", "retrieval", nothing)
    assert query.text == f"Instruct: {WEB_SEARCH_INSTRUCTION}\nQuery: "
    assert query.is_default_instruction


def test_the_instruction_box_shows_only_where_it_does_something():
    takes = {
        (kind, c.prompt_mode): takes_instruction(kind, c.prompt_mode)
        for kind in ("query_passage", "instruct", "none")
        for c in prompt_modes_of(kind)
    }
    assert {pair for pair, shown in takes.items() if shown} == {("instruct", "retrieval"), ("instruct", "symmetric")}


def test_symmetric_texts_are_not_called_queries_and_passages():
    assert (side_labels("symmetric").left, side_labels("symmetric").right) == ("Texts", "Compare with")
    assert (side_labels("retrieval").left, side_labels("none").right) == ("Queries", "Passages")
