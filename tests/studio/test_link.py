"""What a link holds is checked like anything that comes from strangers."""

from __future__ import annotations

import pytest

from e5studio.errors import UnknownModelError
from e5studio.studio.boxes import Limits
from e5studio.studio.components.share_link import pack_script
from e5studio.studio.link import FIELDS, LinkError, SharedInputs, read_link
from tests.studio.conftest import ENGLISH, OFFLINE

LIMITS = Limits(max_characters=1000)
STATE = {
    "model": ENGLISH,
    "use": "symmetric",
    "queries": "one\ntwo",
    "passages": "",
    "instruction": "",
    "separator": "blank_line",
}


def test_a_link_brings_back_what_it_was_made_of():
    assert read_link(STATE, LIMITS) == SharedInputs(**STATE)


def test_a_use_that_the_model_does_not_know_becomes_its_usual_one():
    assert read_link({**STATE, "model": OFFLINE}, LIMITS).use == "none"
    assert read_link({**STATE, "use": "<b>"}, LIMITS).use == "retrieval"


def test_what_is_no_separator_is_a_line():
    assert read_link({**STATE, "separator": "../.."}, LIMITS).separator == "line"


@pytest.mark.parametrize(
    "state", [None, [], "text", {}, {**STATE, "queries": 7}, {**STATE, "model": None}, {**STATE, "passages": ["a"]}]
)
def test_damaged(state):
    with pytest.raises(LinkError, match="damaged"):
        read_link(state, LIMITS)


def test_too_long():
    with pytest.raises(LinkError, match="1,001 characters"):
        read_link({**STATE, "queries": "x" * 1001}, LIMITS)


@pytest.mark.parametrize("model", ["/etc/passwd", "someone/else", ""])
def test_only_models_that_are_offered(model):
    with pytest.raises(UnknownModelError):
        read_link({**STATE, "model": model}, LIMITS)


def test_script_packs_all_fields_in_their_order():
    assert str(list(FIELDS)) in pack_script(FIELDS)
