"""What the page says when something goes wrong: what a visitor can do about it."""

from __future__ import annotations

import pytest

from e5studio.backends import resolve_choices
from e5studio.errors import BackendError, ModelUnavailableError, OutOfMemoryError
from e5studio.hub import fetch
from e5studio.memory import check_fits
from e5studio.models import get_model_meta
from e5studio.studio.engine import error_messages
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor


@pytest.fixture
def unreachable():
    with pytest.raises(ModelUnavailableError) as caught:
        fetch(get_model_meta("e5-base-v2"), None)
    return caught.value


def test_an_unreachable_model_names_one_that_is_here_and_the_log_has_it_all(unreachable, monkeypatch, caplog):
    monkeypatch.setattr(error_messages, "model_here", lambda: "all-MiniLM-L6-v2")
    assert message_for_visitor(unreachable) == (
        "intfloat/e5-base-v2 is not on this machine, and downloads are switched off. Try again later, or pick a model "
        "that is downloaded already, such as all-MiniLM-L6-v2."
    )
    assert "tokenizer.json" in caplog.text


def test_no_model_is_advised_where_none_is_here(unreachable, monkeypatch):
    monkeypatch.setattr(error_messages, "model_here", lambda: None)
    assert message_for_visitor(unreachable).endswith("switched off. Try again later.")


def test_a_precision_that_cannot_be_had_is_met_with_another_and_the_log_names_the_package(caplog):
    with pytest.raises(BackendError, match="Take backend='openvino'") as caught:
        resolve_choices("torch", device="cpu", dtype="int8")
    assert str(for_menus(caught.value)) == (
        "The torch backend computes in float32, bfloat16, float16, not in 'int8'. Choose another precision, such as "
        "float32. The log of the program that runs this page says what is missing."
    )
    assert "Take backend='openvino' for int8." in caplog.text
    assert str(for_menus(caught.value, "auto", "int8")).endswith('pip install ".[openvino]".')


def test_a_model_too_large_is_not_met_with_a_precision_that_the_page_does_not_offer():
    with pytest.raises(OutOfMemoryError, match="bfloat16") as caught:
        check_fits("e5", 7_000_000_000, "float32", 16_000_000_000)
    assert message_for_visitor(caught.value) == (
        "e5 needs 28.3 GB of memory in float32, and 16.0 GB are free. Pick a smaller model, or shorten texts that "
        "are very long."
    )
