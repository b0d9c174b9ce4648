"""The table is complete, and names lead to their rows."""

from __future__ import annotations

import re

import pytest

from e5studio.errors import UnknownModelError
from e5studio.models import FOUR_BIT_MODEL, OFFLINE_MODEL, get_model_meta, hub_id, is_in_table, list_models

NAMES = [meta.name for meta in list_models()]


def test_all_fourteen_e5_checkpoints_and_two_that_packages_carry() -> None:
    assert len([name for name in NAMES if re.fullmatch(r"intfloat/[\w-]+", name)]) == 14
    assert NAMES[-2:] == [FOUR_BIT_MODEL, OFFLINE_MODEL]
    assert len(set(NAMES)) == 16


@pytest.mark.parametrize(
    "name",
    ["multilingual-e5-small@4bit", "Multilingual-E5-small@4BIT", "multilingual-e5-small (4-bit)", FOUR_BIT_MODEL],
)
def test_the_4_bit_weights_are_a_model_of_their_own(name: str) -> None:
    meta, full = get_model_meta(name), get_model_meta("multilingual-e5-small")
    assert (meta.name, meta.short_name) == (FOUR_BIT_MODEL, "multilingual-e5-small (4-bit)")
    assert (meta.download_size, full.download_size) == ("72 MB", "472 MB")
    used_alike = ("prompt_kind", "pooling", "max_tokens", "languages", "n_parameters", "temperature", "license")
    assert [getattr(meta, field) for field in used_alike] == [getattr(full, field) for field in used_alike]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_plausible(name: str) -> None:
    meta = get_model_meta(name)
    assert (meta.max_tokens == 512) or meta.name.endswith(("e5-mistral-7b-instruct", "all-MiniLM-L6-v2"))
    assert meta.prompt_kind == ("instruct" if name.endswith("instruct") else meta.prompt_kind)
    assert (meta.pooling == "last_token") == (meta.model_type == "mistral")
    pinned = meta.revision is not None and re.fullmatch("[0-9a-f]{40}", meta.revision)
    assert pinned or name.endswith(("-unsupervised", "@4bit"))


def test_multilingual_small_is_a_bert() -> None:
    assert get_model_meta("intfloat/multilingual-e5-small").model_type == "bert"


@pytest.mark.parametrize(
    "name",
    [
        *("e5-small-v2", "E5-Small-v2", "intfloat/e5-small-v2", " Intfloat/E5-small-V2 ", "intfloat/e5-small-v2/"),
        *("https://huggingface.co/intfloat/e5-small-v2", "http://hf.co/intfloat/e5-small-v2/?library=transformers"),
        *("hf.co/intfloat/e5-small-v2", "HuggingFace.co/intfloat/E5-small-v2/tree/main"),
    ],
)
def test_short_names_and_any_case(name: str) -> None:
    assert get_model_meta(name).name == "intfloat/e5-small-v2"


@pytest.mark.parametrize(
    "name",
    [
        *("https://huggingface.co/datasets/intfloat/e5", "https://example.com/intfloat/e5-small-v2"),
        *("https://huggingface.co/intfloat/e5-small-v2/tree/other", "hf.co/"),
    ],
)
def test_an_address_of_something_else(name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"is not the address of a model .* revision= chooses a commit"):
        get_model_meta(name)
    assert not is_in_table(name)


def test_an_address_of_a_model_outside_the_table() -> None:
    assert hub_id("https://huggingface.co/somebody/my-e5") == "somebody/my-e5"
    assert hub_id("somebody/my-e5") == "somebody/my-e5"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("e5-smal-v2", "intfloat/e5-small-v2"),
        ("intfloat/multilingual_e5_large_instruct", "intfloat/multilingual-e5-large-instruct"),
        ("MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_a_near_miss_is_answered_with_a_suggestion(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownModelError, match=f"Did you mean .*{re.escape(suggestion)}"):
        get_model_meta(name)


def test_a_stranger_is_told_how_to_bring_a_model_of_their_own() -> None:
    with pytest.raises(UnknownModelError, match=r"prompt_kind=") as caught:
        get_model_meta("zzz")
    assert "Did you mean" not in str(caught.value)
