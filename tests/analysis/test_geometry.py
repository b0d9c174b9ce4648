"""How vectors lie: cosines of random pairs, and the effective rank, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.geometry import effective_rank, pair_cosines
from e5studio.errors import NonFiniteError


def gaussian(n, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def test_few_vectors_have_all_their_pairs():
    rows = gaussian(30, 5)
    found = pair_cosines(rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = (unit @ unit.T)[np.triu_indices(30, 1)]
    assert found.is_all
    np.testing.assert_allclose(found.cosines, expected, atol=1e-6)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-6)
    assert found.spread == pytest.approx(expected.std(), abs=1e-6)


def test_of_many_vectors_pairs_are_drawn_and_none_meets_itself():
    found = pair_cosines(gaussian(3_000, 64))
    assert not found.is_all
    assert len(found.cosines) == 20_000
    assert found.mean == pytest.approx(0, abs=0.004)
    assert found.spread == pytest.approx(1 / 8, abs=0.004)
    assert found.cosines.max() < 0.9
    np.testing.assert_array_equal(found.cosines, pair_cosines(gaussian(3_000, 64)).cosines)


def test_a_shared_direction_is_seen_as_a_high_mean_and_not_as_a_low_rank():
    rows = gaussian(2_000, 16)
    shifted = rows + 10 * np.eye(16)[0]
    assert pair_cosines(shifted).mean > 0.8
    assert effective_rank(shifted) > 14


@pytest.mark.parametrize("n", [4_000, 9_000])
def test_isotropic_vectors_use_all_directions(n):
    assert effective_rank(gaussian(n, 24)) == pytest.approx(24, rel=0.01)


@pytest.mark.parametrize(("n", "dim"), [(40, 8), (12, 50)])
def test_the_rank_is_that_of_the_singular_values(n, dim):
    rows = gaussian(n, dim) * np.linspace(0.1, 3, dim)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(rows) == pytest.approx(np.exp(-(shares * np.log(shares + 1e-300)).sum()), rel=1e-4)


def test_vectors_of_few_directions_have_a_low_rank():
    basis = np.eye(30)[:4]
    rows = gaussian(500, 4) @ basis
    assert effective_rank(rows) == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("rows", [np.ones((50, 8)), np.ones((1, 8)), np.zeros((4, 8)), np.empty((0, 8))])
def test_what_does_not_vary_has_no_rank(rows):
    assert effective_rank(rows) == 0


def test_rows_of_zeros_are_left_out():
    rows = gaussian(20, 6)
    with_zeros = np.concatenate([rows, np.zeros((5, 6), np.float32)])
    np.testing.assert_array_equal(pair_cosines(with_zeros).cosines, pair_cosines(rows).cosines)
    assert effective_rank(with_zeros) == pytest.approx(effective_rank(rows))
    assert len(pair_cosines(np.zeros((5, 6))).cosines) == 0
    with pytest.raises(NonFiniteError):
        pair_cosines([[np.nan, 1], [1, 1]])
