"""Batches keep to their limits, waste little, and lose no text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from e5studio.batching import IntArray, Limits, TokenBatch, padding_share, plan_batches, rounded

LENGTHS = st.lists(st.integers(2, 512), max_size=200)


@given(LENGTHS, st.integers(1, 4096), st.integers(1, 64), st.integers(0, 100), st.sampled_from([0, 40, 250]))
def test_every_text_once_and_within_limits(
    lengths: list[int], budget: int, max_rows: int, overhead: int, shape_cost: int
) -> None:
    sizes = np.array(lengths, np.int32)
    plan = plan_batches(sizes, Limits(budget, max_rows, overhead, shape_cost))
    sizes = rounded(sizes) if shape_cost else sizes
    assert sorted(np.concatenate(plan).tolist() if plan else []) == list(range(len(lengths)))
    for rows in plan:
        cost = sizes[rows].max() * len(rows)
        assert len(rows) <= max_rows
        assert cost <= budget or len(rows) == 1


def test_texts_of_like_length_go_together_longest_first() -> None:
    plan = plan_batches(np.array([5, 100, 5, 90], np.int32), Limits(200, overhead=20))
    assert [rows.tolist() for rows in plan] == [[1, 3], [0, 2]]


def test_without_overhead_nothing_is_padded() -> None:
    lengths = np.array([5, 100, 5, 90, 7], np.int32)
    for rows in plan_batches(lengths, Limits(2000)):
        assert len(set(lengths[rows].tolist())) == 1


def cost_of(plan: list[np.ndarray], lengths: np.ndarray, limits: Limits) -> int:
    return sum(len(rows) * int(lengths[rows].max()) + limits.overhead for rows in plan)


@given(st.lists(st.integers(2, 40), min_size=1, max_size=60), st.integers(40, 400), st.integers(0, 60))
def test_neither_padding_nothing_nor_padding_freely_is_cheaper(lengths: list[int], budget: int, overhead: int) -> None:
    sizes = np.array(lengths, np.int32)
    limits = Limits(budget, overhead=overhead)
    cost = cost_of(plan_batches(sizes, limits), sizes, limits)
    each_length_alone = plan_batches(sizes, Limits(budget))
    assert cost <= cost_of(each_length_alone, sizes, limits)
    n_full = -(-len(sizes) // (budget // int(sizes.max())))
    assert cost <= len(sizes) * int(sizes.max()) + n_full * overhead


def test_rounded_lengths_are_few_and_hardly_longer() -> None:
    lengths = np.arange(1, 8193, dtype=np.int32)
    found = rounded(lengths)
    assert (found >= lengths).all()
    assert (found <= lengths * (1 + 1 / 32)).all()
    assert len(set(found[:512].tolist())) == 160
    assert np.array_equal(rounded(found), found)


def test_a_cost_of_shapes_makes_few_and_full_ones() -> None:
    lengths = np.random.default_rng(0).integers(8, 512, 3000).astype(np.int32)
    free = plan_batches(lengths, Limits(1024, overhead=20))
    costly = plan_batches(lengths, Limits(1024, overhead=20, shape_cost=250))

    def n_shapes(plan: list[NDArray[np.intp]], longest: IntArray) -> int:
        return len({(len(rows), int(longest[rows].max())) for rows in plan})

    assert n_shapes(costly, rounded(lengths)) < 0.6 * n_shapes(free, lengths)
    tokens = sum(len(rows) * int(rounded(lengths[rows]).max()) for rows in costly)
    assert tokens < 1.04 * lengths.sum()


def test_a_stream_soon_has_met_its_shapes() -> None:
    random = np.random.default_rng(0)
    shapes: list[set[tuple[int, int]]] = []
    for _ in range(20):
        lengths = random.integers(6, 24, 4096).astype(np.int32)
        plan = plan_batches(lengths, Limits(1024, overhead=20, shape_cost=40))
        shapes.append({(len(rows), int(rounded(lengths[rows]).max())) for rows in plan})
        assert sum(len(rows) * int(lengths[rows].max()) for rows in plan) < 1.05 * lengths.sum()
    early = set().union(*shapes[:5])
    assert len(set().union(*shapes) - early) < 0.6 * len(early)


def test_padding_is_told() -> None:
    lengths = np.array([10, 20, 20], np.int32)
    assert padding_share(lengths, Limits(1024)) == 0
    assert padding_share(lengths, Limits(1024, overhead=100)) == pytest.approx(10 / 60)
    assert padding_share(np.array([65], np.int32), Limits(1024, shape_cost=1)) == pytest.approx(1 / 66)
    assert padding_share(lengths[:0], Limits(1024)) == 0


def test_padded() -> None:
    batch = TokenBatch(np.array([7, 8, 9], np.int32), np.array([1, 2], np.int32))
    ids, mask = batch.padded(0)
    assert ids.tolist() == [[7, 0], [8, 9]]
    assert mask.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("rows", [[1, 0], [1], [], [0, 0]])
def test_select(rows: list[int]) -> None:
    batch = TokenBatch(np.array([7, 8, 9], np.int32), np.array([1, 2], np.int32))
    texts = [[7], [8, 9]]
    selected = batch.select(rows)
    assert selected.ids.tolist() == [token for row in rows for token in texts[row]]
    assert selected.lengths.tolist() == [len(texts[row]) for row in rows]
