"""The right text stands in front, and nothing is chosen silently."""

from __future__ import annotations

import pytest

from e5studio.errors import PromptError
from e5studio.prompts import (
    WEB_SEARCH_INSTRUCTION,
    Prompt,
    already_prompted,
    join_title,
    resolve_prompt,
    resolve_prompt_name,
)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("query_passage", "query", "query: "),
        ("query_passage", "document", "passage: "),
        ("query_passage", "symmetric", "query: "),
        ("instruct", "document", ""),
        ("none", "query", ""),
        ("none", "document", ""),
    ],
)
def test_the_name_chooses_the_prompt(kind: str, name: str, text: str) -> None:
    assert resolve_prompt(kind, prompt_name=name).text == text  # type: ignore[arg-type]


def test_instruct_template_is_that_of_the_card() -> None:
    prompt = resolve_prompt("instruct", prompt_name="query", instruction="Retrieve {similar} text.")
    assert prompt == Prompt("Instruct: Retrieve {similar} text.\nQuery: ", "query", "Retrieve {similar} text.")


def test_default_instruction_is_the_cards_and_marked() -> None:
    prompt = resolve_prompt("instruct", prompt_name="query")
    assert prompt.instruction == WEB_SEARCH_INSTRUCTION
    assert prompt.is_default_instruction


def test_symmetric_use_of_an_instruct_model_carries_the_instruction() -> None:
    prompt = resolve_prompt("instruct", prompt_name="sts", instruction="Retrieve semantically similar text.")
    assert prompt.text == "Instruct: Retrieve semantically similar text.\nQuery: "


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("passage", "document"),
        ("corpus", "document"),
        ("search_query", "query"),
        ("search_document", "document"),
        ("retrieval.query", "query"),
        ("retrieval.passage", "document"),
        ("ingest", "document"),
        ("search", "query"),
        ("clustering", "query"),
        ("classification", "query"),
        (" Query ", "query"),
    ],
)
def test_names_of_other_apis(alias: str, name: str) -> None:
    assert resolve_prompt_name(alias) == name


def test_unknown_role_lists_the_known() -> None:
    with pytest.raises(PromptError, match=r"'qeury'.*'query' or 'document'"):
        resolve_prompt_name("qeury")


@pytest.mark.parametrize("kind", ["query_passage", "instruct"])
def test_no_choice_is_an_error_that_names_the_choices(kind: str) -> None:
    with pytest.raises(PromptError, match=r"prompt_name='query'.*prompt_name='document'.*prompt=''"):
        resolve_prompt(kind)  # type: ignore[arg-type]


def test_no_choice_is_needed_without_prompts() -> None:
    assert resolve_prompt("none").text == ""


@pytest.mark.parametrize("prompt", ["", "title: "])
def test_an_explicit_prompt_is_taken_as_it_is(prompt: str) -> None:
    assert resolve_prompt("query_passage", prompt=prompt) == Prompt(prompt)


def test_prompt_and_role_contradict() -> None:
    with pytest.raises(PromptError, match="stands alone"):
        resolve_prompt("query_passage", prompt="", prompt_name="query")


@pytest.mark.parametrize("kind", ["query_passage", "none"])
def test_instruction_on_a_model_without_them(kind: str) -> None:
    with pytest.raises(PromptError, match="not trained with instructions"):
        resolve_prompt(kind, prompt_name="query", instruction="Find it.")  # type: ignore[arg-type]


def test_instruction_on_documents() -> None:
    with pytest.raises(PromptError, match="Documents take no instruction"):
        resolve_prompt("instruct", prompt_name="document", instruction="Find it.")


def test_blank_instruction() -> None:
    with pytest.raises(PromptError, match="instruction is empty"):
        resolve_prompt("instruct", prompt_name="query", instruction="  ")


def test_already_prompted() -> None:
    texts = ["query: a", "Passage:b", " query: c", "the query: d", "querying"]
    assert already_prompted(texts, "query_passage") == [0, 1, 2]
    assert already_prompted(["Instruct: x\nQuery: y", "query: a"], "instruct") == [0]
    assert already_prompted(texts, "none") == []


@pytest.mark.parametrize(
    ("title", "text", "joined"),
    [("T", "body", "T body"), (None, " body ", " body "), ("", "body", "body"), ("T", "", "T")],
)
def test_join_title(title: str | None, text: str, joined: str) -> None:
    assert join_title(title, text) == joined
