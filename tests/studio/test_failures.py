"""What the page says when something goes wrong: what a visitor can do about it."""

from __future__ import annotations

import pytest

from e5studio.errors import ModelUnavailableError, OutOfMemoryError
from e5studio.hub import locate
from e5studio.models import get_model_meta
from e5studio.studio import failures
from e5studio.studio.failures import explain


def test_an_unreachable_model_names_one_that_is_here_and_the_log_has_it_all(offline_folder, caplog):
    with pytest.raises(ModelUnavailableError) as caught:
        locate(get_model_meta("e5-base-v2"))
    assert explain(caught.value) == (
        "e5-base-v2 is not on this machine, and the Hugging Face Hub does not answer. Connect and try again, or pick "
        "a model marked 'here', such as all-MiniLM-L6-v2."
    )
    assert "tokenizer.json" in caplog.text


def test_no_model_is_advised_where_none_is_here(monkeypatch):
    monkeypatch.setattr(failures, "model_here", lambda: None)
    message = explain(ModelUnavailableError("a/b is not on this machine, and the Hub does not answer (Error)."))
    assert message.endswith("does not answer. Connect and try again.")


def test_other_reasons_are_told_as_they_are():
    assert explain(ModelUnavailableError("Its disk is full. Free some.")) == "Its disk is full. Free some."
    long = "a/b is not on this machine, and the Hub has no such model. Looked in the Hub cache for config.json."
    assert explain(ModelUnavailableError(long)) == "a/b is not on this machine, and the Hub has no such model."


def test_a_model_too_large_is_not_met_with_a_precision_that_the_page_does_not_offer():
    message = explain(OutOfMemoryError("e5 needs 28.4 GB of memory, and 15.1 GB are free. In dtype='x' it would fit."))
    assert message.startswith("e5 needs 28.4 GB of memory, and 15.1 GB are free. Pick a smaller model")
    assert "dtype" not in message
