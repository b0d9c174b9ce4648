"""Two orders of the same passages, compared: against definitions written out, and on cases done by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from e5studio.analysis.ranking import kendall_tau, ranks, top_k_overlap
from e5studio.errors import VectorError

NAN = float("nan")
# Few different values, so that there are ties.
matrices = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(*[arrays(np.float32, shape, elements=st.integers(-3, 3).map(float))] * 2)
)


def tau_by_hand(a, b):
    pairs = list(itertools.combinations(range(len(a)), 2))
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    free = math.prod(sum(sign[side] != 0 for sign in signs) for side in (0, 1))
    return sum(x * y for x, y in signs) / math.sqrt(free) if free else NAN


@given(matrices)
def test_kendalls_tau_is_what_its_definition_says(pair):
    expected = [tau_by_hand(a, b) for a, b in zip(*pair, strict=True)]
    np.testing.assert_allclose(kendall_tau(*pair), expected, atol=1e-12)


@given(matrices, st.integers(1, 7))
def test_the_overlap_counts_common_passages(pair, k):
    first, second = pair
    n_kept = min(k, first.shape[1])
    best = [[set(np.argsort(-row, kind="stable")[:n_kept]) for row in side] for side in pair]
    expected = [len(a & b) / n_kept for a, b in zip(*best, strict=True)]
    np.testing.assert_allclose(top_k_overlap(first, second, k), expected)


def test_pairs_that_do_not_count_change_nothing():
    first = np.array([[NAN, 3, 2, 1]])
    second = np.array([[NAN, 1, 3, 2]])
    without = first[:, 1:], second[:, 1:]
    assert kendall_tau(first, second) == kendall_tau(*without)
    assert top_k_overlap(first, second, 2) == top_k_overlap(*without, 2) == [0.5]
    assert top_k_overlap(first, second, 9) == [1]


def test_equal_scores_rank_by_position_and_nan_last():
    assert ranks([[5, NAN, 5, 7]]).tolist() == [[2, 4, 3, 1]]


@pytest.mark.parametrize("compare", [kendall_tau, lambda a, b: top_k_overlap(a, b, 3)])
def test_matrices_of_other_pairs_are_refused(compare):
    with pytest.raises(VectorError, match=r"got \(2, 3\) and \(3, 2\)"):
        compare(np.zeros((2, 3)), np.zeros((3, 2)))


def test_no_passages_cannot_be_best():
    with pytest.raises(VectorError, match="k is 0"):
        top_k_overlap([[1, 2]], [[2, 1]], 0)
