"""Groups that lie apart, or do not, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.group_separation import separation
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.similarity import cos_sim


def two_groups(shift, n=120, dim=20):
    rows = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    is_member = np.arange(n) % 4 == 0
    rows[is_member] += shift * np.eye(dim, dtype=np.float32)[0]
    rows[~is_member] -= shift * np.eye(dim, dtype=np.float32)[0]
    return rows, is_member


def test_the_figures_are_those_of_all_pairs():
    rows, is_member = two_groups(1)
    near = nearest_neighbours(rows, n_neighbors=6)
    found = separation(rows, near.ids, np.arange(120), is_member, ~is_member)
    cosines = cos_sim(rows, rows)
    inside = cosines[np.ix_(is_member, is_member)]
    assert found.within == pytest.approx(inside[~np.eye(30, dtype=bool)].mean(), abs=1e-6)
    assert found.across == pytest.approx(cosines[np.ix_(is_member, ~is_member)].mean(), abs=1e-6)
    assert found.own == pytest.approx(np.mean([is_member[ids].mean() for ids in near.ids[is_member]]))
    assert found.by_chance == 29 / 119


def test_a_group_that_lies_apart_is_told_from_one_that_does_not():
    for shift, is_apart in ((0, False), (3, True)):
        rows, is_member = two_groups(shift)
        found = separation(rows, nearest_neighbours(rows, n_neighbors=6).ids, np.arange(120), is_member, ~is_member)
        assert (found.excess > 0.9) == is_apart
        assert abs(found.excess) < 0.1 or is_apart
        assert (found.within - found.across > 0.5) == is_apart


@pytest.mark.parametrize("members", [0, 1, 120])
def test_without_two_groups_there_is_nothing_to_say(members):
    rows, _ = two_groups(0)
    near, is_member = nearest_neighbours(rows, n_neighbors=6), np.arange(120) < members
    assert separation(rows, near.ids, np.arange(120), is_member, ~is_member) is None


def test_texts_that_may_be_of_the_group_count_neither_for_nor_against_it():
    rows, is_member = two_groups(0)
    is_other = ~is_member & (np.arange(120) % 2 == 0)
    rows[~is_member & ~is_other] = 50 + np.random.default_rng(1).normal(size=(60, 20))  # far from all that is known
    known = np.flatnonzero(is_member | is_other)
    near = nearest_neighbours(rows, n_neighbors=119).ids
    found = separation(rows, near, np.arange(120), is_member, is_other)
    alone = nearest_neighbours(rows[known], n_neighbors=59).ids
    expected = separation(rows[known], alone, np.arange(60), is_member[known], is_other[known])
    assert found == expected
    assert separation(rows, near[:, -1:] * 0 + 1, np.arange(120), is_member, is_other) is None  # row 1 is unknown
