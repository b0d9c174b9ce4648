"""The texts with which the page opens."""

from __future__ import annotations

import pytest

from e5studio.models import FOUR_BIT_MODEL, OFFLINE_MODEL, get_model_meta
from e5studio.studio.form.examples import first_example


@pytest.mark.parametrize(
    ("languages", "query"),
    [
        (get_model_meta(FOUR_BIT_MODEL).languages, "南瓜的家常做法"),
        (get_model_meta(OFFLINE_MODEL).languages, "summit define"),
        ((), "summit define"),
    ],
)
def test_it_is_the_example_of_the_models_card(languages, query):
    assert query in first_example(languages).queries
