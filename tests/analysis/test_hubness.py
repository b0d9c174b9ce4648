"""How often vectors are neighbours of others: against counting, and a planted hub."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.correlation import scipy_stats
from e5studio.analysis.hubness import k_occurrences, skewness
from e5studio.analysis.neighbours import nearest_neighbours


def test_counts_are_those_of_the_lists():
    lists = [[1, 2], [2, 0], [1, 0], [1, 2]]
    assert k_occurrences(lists, 5).tolist() == [2, 3, 3, 0, 0]
    assert k_occurrences(np.empty((0, 3)), 2).tolist() == [0, 0]


def test_a_planted_hub_is_found():
    rows = np.random.default_rng(0).normal(size=(300, 60))
    rows[:, 0] += 10
    rows[17] = rows.mean(axis=0)  # its cosine with all is higher than theirs with each other
    counts = k_occurrences(nearest_neighbours(rows, n_neighbors=10).ids, 300)
    assert counts.argmax() == 17
    assert counts[17] > 200
    assert skewness(counts) > 5


def test_skewness_is_the_third_moment():
    values = np.random.default_rng(0).exponential(size=500)
    assert skewness(values) == pytest.approx(scipy_stats().skew(values))
    assert skewness([3, 3, 3]) == skewness([]) == 0
