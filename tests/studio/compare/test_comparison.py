"""Two settings over the same texts, and every pair of prompts: the numbers are those of the encoder itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e5studio.errors import TextError
from e5studio.prompts import INSTRUCT_TEMPLATE
from e5studio.studio.compare.comparison import agreement, compare, most_moved_query, moves, shifts, try_prompts
from e5studio.studio.engine.result import ScoreRequest
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE

QUERIES = ["how tall is the mountain", "who wrote the letter", "what do bees eat"]
PASSAGES = ["the summit lies at 3,000 metres", "she signed it herself", "nectar and pollen", "a train leaves at noon"]
REQUEST = ScoreRequest(ENGLISH, "retrieval", "\n".join(QUERIES), "\n".join(PASSAGES))


@pytest.fixture(scope="module")
def comparison(engine):
    return compare(engine, REQUEST, replace(REQUEST, prompt_mode="none", queries="not read", passages=""))


def test_both_settings_score_the_same_texts_as_the_encoder_does(comparison, encoders):
    encoder = encoders("e5")
    np.testing.assert_allclose(comparison.first.scores, encoder.scores(QUERIES, PASSAGES), atol=1e-4)
    bare = [encoder.encode(texts, prompt="") for texts in (QUERIES, PASSAGES)]
    np.testing.assert_allclose(comparison.second.scores, 100 * bare[0] @ bare[1].T, atol=1e-4)
    np.testing.assert_allclose(comparison.deltas, comparison.second.scores - comparison.first.scores)


def test_agreement_counts_what_the_matrices_show(comparison):
    said = agreement(comparison)
    first, second = comparison.first.scores, comparison.second.scores
    assert said.n_queries == 3
    assert said.n_same_best == int((first.argmax(axis=1) == second.argmax(axis=1)).sum())
    assert said.k == 3
    assert abs(said.largest) == pytest.approx(np.abs(comparison.deltas).max())
    assert ((-1 <= said.taus) & (said.taus <= 1)).all()


def test_a_setting_agrees_with_itself(engine):
    same = compare(engine, REQUEST, REQUEST)
    said = agreement(same)
    assert (said.n_same_best, said.largest) == (3, pytest.approx(0, abs=1e-4))
    np.testing.assert_allclose(said.taus, 1)
    np.testing.assert_allclose(said.overlaps, 1)
    assert [shift.moved for shift in shifts(same)] == pytest.approx([0, 0, 0], abs=1e-3)


def test_the_right_passage_of_a_query_is_the_one_of_its_number(engine):
    """An empty line is left out, and must not shift what stands below it."""
    request = replace(REQUEST, passages="\n".join([PASSAGES[0], "", *PASSAGES[2:]]))
    comparison = compare(engine, request, request, is_paired=True)
    first, second = comparison.right_ranks
    scores = comparison.first.scores
    wanted = [1 + int((scores[row] > scores[row, column]).sum()) for row, column in ((0, 0), (2, 1))]
    assert first.tolist() == second.tolist() == wanted
    grid = try_prompts(engine, request, is_paired=True)
    usual = next(cell for cell in grid.cells if cell.is_usual)
    assert usual.right_ranks.tolist() == wanted


def test_a_copy_of_the_right_passage_is_right_too(engine):
    request = replace(REQUEST, queries="bees", passages="nectar and pollen\nnectar and pollen")
    assert compare(engine, request, request, is_paired=True).right_ranks[0].tolist() == [1]
    swapped = replace(REQUEST, queries="x\nbees", passages="nectar and pollen\nnectar and pollen")
    assert compare(engine, swapped, swapped, is_paired=True).right_ranks[0].tolist() == [1, 1]


def test_pairs_that_moved_most_come_first(comparison):
    listed = moves(comparison, 100)
    assert len(listed) == 12
    changes = [abs(1 / move.ranks[0] - 1 / move.ranks[1]) for move in listed]
    assert changes == sorted(changes, reverse=True)
    for move in listed:
        place = move.row, move.column
        assert move.scores == (comparison.first.scores[place], comparison.second.scores[place])
    assert len(moves(comparison, 2)) == 2
    sums = [sum(c for c, m in zip(changes, listed, strict=True) if m.row == row) for row in range(3)]
    assert sums[most_moved_query(comparison)] == pytest.approx(max(sums))


def test_a_shift_is_told_within_one_model_only(engine, comparison):
    for shift, before, after in zip(
        shifts(comparison), comparison.first.vectors, comparison.second.vectors, strict=False
    ):
        assert shift.moved == pytest.approx(100 * (1 - float(before @ after)), abs=1e-3)
    assert shifts(compare(engine, REQUEST, replace(REQUEST, model=OFFLINE, prompt_mode="none"))) is None


def test_what_a_query_gains_is_its_best_passages_lead(comparison):
    for row, shift in enumerate(shifts(comparison)):
        first, second = comparison.first.scores[row], comparison.second.scores[row]
        best = int(first.argmax())
        leads = [float(side[best] - np.delete(side, best).max()) for side in (first, second)]
        assert shift.gained == pytest.approx(leads[1] - leads[0], abs=1e-3)


def test_texts_among_themselves_leave_out_the_diagonal(engine):
    alone = replace(REQUEST, prompt_mode="symmetric", passages="")
    comparison = compare(engine, alone, replace(alone, prompt_mode="none"))
    assert np.isnan(np.diagonal(comparison.deltas)).all()
    assert len(moves(comparison, 2)) == 2
    assert len(moves(comparison, 100)) == 6
    assert all(move.row != move.column for move in moves(comparison, 100))
    assert agreement(comparison).k == 2


def test_settings_that_need_other_boxes_say_so(engine):
    alone = replace(REQUEST, prompt_mode="symmetric", passages="")
    with pytest.raises(TextError, match="nothing to read in Passages"):
        compare(engine, alone, replace(alone, prompt_mode="retrieval"))


@pytest.mark.parametrize(("model", "encoder_name"), [(ENGLISH, "e5"), (OFFLINE, None)])
def test_every_pair_of_prompts_scores_as_the_encoder_does(engine, encoders, offline_encoder, model, encoder_name):
    encoder = encoders(encoder_name) if encoder_name else offline_encoder
    grid = try_prompts(engine, replace(REQUEST, model=model))
    fronts = {"none": "", "query": "query: ", "passage": "passage: "}
    assert [cell.right for cell in grid.cells] == [*fronts] * 3
    for cell in grid.cells:
        left = encoder.encode(QUERIES, prompt=fronts[cell.left])
        right = encoder.encode(PASSAGES, prompt=fronts[cell.right])
        np.testing.assert_allclose(cell.scores, 100 * left @ right.T, atol=1e-4)
    usual = [(cell.left, cell.right) for cell in grid.cells if cell.is_usual]
    assert usual == [("query", "passage") if encoder_name else ("none", "none")]
    assert next(cell for cell in grid.cells if cell.is_usual).n_same_best == 3


def test_instructions_are_tried_with_and_without(engine, encoders):
    request = replace(REQUEST, model=INSTRUCT, instruction="Find the answer")
    grid = try_prompts(engine, request)
    encoder = encoders("multilingual-e5-instruct")
    assert [cell.right for cell in grid.cells] == ["none", "instruction"] * 2
    front = INSTRUCT_TEMPLATE.format(instruction="Find the answer")
    both = grid.cells[-1]
    expected = encoder.encode(QUERIES, prompt=front) @ encoder.encode(PASSAGES, prompt=front).T
    np.testing.assert_allclose(both.scores, 100 * expected, atol=1e-4)
    assert [(cell.left, cell.right) for cell in grid.cells if cell.is_usual] == [("instruction", "none")]


def test_right_passages_are_ranked_where_they_are_known(engine):
    assert all(cell.right_ranks is None for cell in try_prompts(engine, REQUEST).cells)
    for cell in try_prompts(engine, REQUEST, is_paired=True).cells:
        above = (cell.scores > np.diagonal(cell.scores)[:, None]).sum(axis=1)
        assert cell.right_ranks.tolist() == (above + 1).tolist()
