"""Two settings over the same texts, and every pair of prompts: the numbers are those of the encoder itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e5studio.errors import TextError
from e5studio.models import get_model_meta
from e5studio.prompts import INSTRUCT_TEMPLATE
from e5studio.studio.compare.chips import chips, other_setting
from e5studio.studio.compare.comparison import Comparison, compare, may_be_base, tied_ranks, try_prompts
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.own_models import OwnModel
from e5studio.studio.engine.result import ScoreRequest
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE

QUERIES = ["how tall is the mountain", "who wrote the letter", "what do bees eat"]
PASSAGES = ["the summit lies at 3,000 metres", "she signed it herself", "nectar and pollen", "a train leaves at noon"]
REQUEST = ScoreRequest(ENGLISH, "retrieval", "\n".join(QUERIES), "\n".join(PASSAGES))
TUNED = replace(get_model_meta(ENGLISH), name="my-e5")
CATALOG = Catalog((OwnModel(TUNED, TUNED, None, "1"),))


@pytest.fixture(scope="module")
def comparison(engine):
    return compare(engine, REQUEST, replace(REQUEST, prompt_mode="none", queries="not read", passages=""))


def test_both_settings_score_the_same_texts_as_the_encoder_does(comparison, encoders):
    encoder = encoders("e5")
    np.testing.assert_allclose(comparison.first.scores, encoder.scores(QUERIES, PASSAGES), atol=1e-4)
    bare = [encoder.encode(texts, prompt="") for texts in (QUERIES, PASSAGES)]
    np.testing.assert_allclose(comparison.second.scores, 100 * bare[0] @ bare[1].T, atol=1e-4)
    np.testing.assert_allclose(comparison.deltas, comparison.second.scores - comparison.first.scores)


def test_the_right_passage_of_a_query_is_the_one_of_its_number(engine):
    """An empty line is left out, and must not shift what stands below it."""
    request = replace(REQUEST, passages="\n".join([PASSAGES[0], "", *PASSAGES[2:]]))
    comparison = compare(engine, request, request, is_paired=True)
    first, second = comparison.right_ranks
    scores = comparison.first.scores
    wanted = [1 + int((scores[row] > scores[row, column]).sum()) for row, column in ((0, 0), (2, 1))]
    assert first.tolist() == second.tolist() == wanted
    usual = next(pair for pair in try_prompts(engine, comparison).pairs if pair.is_usual)
    assert usual.right_ranks.tolist() == wanted


def test_a_copy_of_the_right_passage_is_right_too(engine):
    request = replace(REQUEST, queries="bees", passages="nectar and pollen\nnectar and pollen")
    assert compare(engine, request, request, is_paired=True).right_ranks[0].tolist() == [1]
    swapped = replace(REQUEST, queries="x\nbees", passages="nectar and pollen\nnectar and pollen")
    assert compare(engine, swapped, swapped, is_paired=True).right_ranks[0].tolist() == [1, 1]


def scored(comparison, first, second):
    """The comparison with other scores."""
    one, other = (np.array(side, np.float32) for side in (first, second))
    results = replace(comparison.first, scores=one), replace(comparison.second, scores=other)
    return Comparison(*results, results[0])


def test_a_rank_counts_the_scores_above_it_and_ties_share_one():
    scores = np.array([[80, 90, 90.0002, np.nan, 70], [1, 2, 3, 4, 5]], np.float32)
    assert tied_ranks(scores).tolist() == [[3, 1, 1, 0, 4], [5, 4, 3, 2, 1]]


def test_another_passage_comes_first_only_where_none_is_first_under_both(comparison):
    """Of two copies of a passage rounding may put either first, which is no change."""
    first = [[90, 90, 80, 70], [90, 80, 70, 60], [90, 80, 70, 60]]
    second = [[90, 90.5, 80, 70], [80, 90, 70, 60], [90, 80, 60, 70]]
    changed = scored(comparison, first, second)
    assert changed.other_firsts() == [1]
    assert changed.reordered() == [0, 1, 2]
    assert changed.most_moved() == 1
    same = scored(comparison, first, first)
    assert (same.other_firsts(), same.reordered()) == ([], [])


def test_scores_share_a_scale_within_one_model_and_its_prompts_only(engine, comparison):
    assert not comparison.is_same_scale
    assert not compare(engine, REQUEST, replace(REQUEST, model=OFFLINE)).is_same_scale
    assert compare(engine, REQUEST, replace(REQUEST, dtype="int8")).is_same_scale


class Scored:
    """Stands in for an engine: gives results that are scored already."""

    catalog = CATALOG

    def __init__(self, *results):
        self._results = iter(results)

    def score(self, *_, **__):
        return next(self._results)


@pytest.mark.parametrize("is_second", [False, True])
def test_a_text_that_one_model_cannot_read_is_named(comparison, is_second):
    first, second = comparison.first, comparison.second
    blind = replace(second, queries=second.queries.without_unread([1]), scores=second.scores[[0, 2]])
    with pytest.raises(TextError, match="e5-small-v2 finds nothing to read in Q2"):
        compare(Scored(*((first, blind) if is_second else (blind, first))), REQUEST, REQUEST)


def test_texts_among_themselves_leave_out_the_diagonal(engine):
    alone = replace(REQUEST, prompt_mode="symmetric", passages="")
    comparison = compare(engine, alone, replace(alone, prompt_mode="none"))
    assert np.isnan(np.diagonal(comparison.deltas)).all()
    for ranks in comparison.ranks:
        assert np.diagonal(ranks).tolist() == [0, 0, 0]
        assert np.sort(ranks, axis=1).tolist() == [[0, 1, 2]] * 3
    assert comparison.n_ranked == 2


def test_settings_that_need_other_boxes_say_so(engine):
    alone = replace(REQUEST, prompt_mode="symmetric", passages="")
    with pytest.raises(TextError, match="nothing to read in Passages"):
        compare(engine, alone, replace(alone, prompt_mode="retrieval"))


def expected_others(encoder, left, right, usual):
    """Labels of the queries with another best passage than in the usual scores."""
    scores = encoder.encode(QUERIES, prompt=left) @ encoder.encode(PASSAGES, prompt=right).T
    return tuple(f"Q{row + 1}" for row in np.flatnonzero(scores.argmax(axis=1) != usual.argmax(axis=1)))


def test_every_pair_of_prompts_ranks_as_the_encoder_does(engine, comparison, encoders):
    encoder = encoders("e5")
    grid = try_prompts(engine, comparison)
    fronts = {"none": "", "query": "query: ", "passage": "passage: "}
    assert [pair.right for pair in grid.pairs] == [*fronts] * 3
    for pair in grid.pairs:
        others = expected_others(encoder, fronts[pair.left], fronts[pair.right], comparison.first.scores)
        assert pair.other_firsts == others
    assert [(pair.left, pair.right) for pair in grid.pairs if pair.is_usual] == [("query", "passage")]


def test_instructions_are_tried_with_and_without(engine, encoders):
    request = replace(REQUEST, model=INSTRUCT, instruction="Find the answer")
    comparison = compare(engine, request, replace(request, prompt_mode="none"))
    grid = try_prompts(engine, comparison)
    assert [pair.right for pair in grid.pairs] == ["none", "instruction"] * 2
    front = INSTRUCT_TEMPLATE.format(instruction="Find the answer")
    encoder = encoders("multilingual-e5-instruct")
    assert grid.pairs[-1].other_firsts == expected_others(encoder, front, front, comparison.first.scores)
    assert [(pair.left, pair.right) for pair in grid.pairs if pair.is_usual] == [("instruction", "none")]


def test_right_passages_are_ranked_where_they_are_known(engine, comparison):
    assert all(pair.right_ranks is None for pair in try_prompts(engine, comparison).pairs)
    paired = replace(comparison, is_paired=True)
    usual = next(pair for pair in try_prompts(engine, paired).pairs if pair.is_usual)
    scores = comparison.first.scores
    assert usual.right_ranks.tolist() == [1 + int((own > own[row]).sum()) for row, own in enumerate(scores)]


def keys(model, prompt_mode="retrieval", has_int8=False, catalog=CATALOG):
    return [chip.key for chip in chips(catalog, model, prompt_mode, has_int8=has_int8)]


@pytest.fixture
def is_all_here(monkeypatch):
    monkeypatch.setattr("e5studio.studio.engine.catalog.find_local", lambda meta: meta)


def test_only_comparisons_that_can_work_are_offered(is_all_here):
    assert keys(OFFLINE, "none") == []
    assert keys(OFFLINE, "none", has_int8=True) == ["int8"]
    assert keys(INSTRUCT) == ["prompts", "instruction"]
    assert keys(INSTRUCT, "none") == ["prompts"]
    assert keys(ENGLISH) == ["prompts", "model:my-e5"]
    assert f"model:{ENGLISH}" in keys("my-e5")
    assert "model:intfloat/multilingual-e5-small" not in keys("my-e5")


def test_a_base_that_would_have_to_be_downloaded_is_not_offered(monkeypatch):
    monkeypatch.setattr("e5studio.studio.engine.catalog.find_local", lambda meta: None)
    assert keys("my-e5") == ["prompts"]


def other(form, key):
    chip = next(chip for chip in chips(CATALOG, form.model, form.prompt_mode, has_int8=True) if chip.key == key)
    return other_setting(chip, form, CATALOG, "")


def test_prompts_are_compared_from_whichever_side_the_form_is_on():
    assert other(REQUEST, "prompts").prompt_mode == "none"
    bare = replace(REQUEST, prompt_mode="none")
    assert other(bare, "prompts").prompt_mode == "retrieval"
    assert other(replace(bare, passages=" "), "prompts").prompt_mode == "symmetric"
    assert other(REQUEST, "int8").dtype == "int8"
    instruct = replace(REQUEST, model=INSTRUCT, instruction="Find it")
    assert other(instruct, "instruction").instruction not in ("", "Find it")


def test_what_training_changed_leads_from_the_base_to_the_own_model(comparison):
    """Whichever of the two is in the form."""
    base, tuned = comparison.first, replace(comparison.second, meta=TUNED)
    for form, other in ((base, tuned), (tuned, base)):
        trained = compare(Scored(form, other), REQUEST, REQUEST)
        assert (trained.first, trained.second, trained.of_form) == (base, tuned, form)
        assert trained.is_trained
    assert not compare(Scored(base, base), REQUEST, REQUEST).is_trained


def test_a_base_has_the_shape_of_the_own_model():
    english = get_model_meta(ENGLISH)
    assert may_be_base(CATALOG, english, TUNED)
    assert not may_be_base(CATALOG, TUNED, english)
    assert not may_be_base(CATALOG, get_model_meta(OFFLINE), TUNED)
    assert not may_be_base(CATALOG, get_model_meta("intfloat/multilingual-e5-small"), TUNED)
