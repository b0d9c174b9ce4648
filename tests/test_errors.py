"""Errors keep the fact apart from the advice, in every way that they travel."""

from __future__ import annotations

import pickle

from e5studio.errors import E5StudioError, ModelUnavailableError, TextError


def test_fact_and_advice_make_the_message() -> None:
    error = ModelUnavailableError("It is not here.", "Fetch it.")
    assert (str(error), error.fact) == ("It is not here. Fetch it.", "It is not here.")
    assert str(E5StudioError("It is not here.")) == "It is not here."


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(ModelUnavailableError("It is not here.", "Fetch it.")))
    assert (str(error), error.fact) == ("It is not here. Fetch it.", "It is not here.")
    assert pickle.loads(pickle.dumps(TextError("Empty.", [3]))).indices == (3,)
