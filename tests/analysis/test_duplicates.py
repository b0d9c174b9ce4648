"""What stands in a set more than once: planted copies, other ways of writing, near texts."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.duplicates import equal_groups, first_of_each, folded, near_texts, near_threshold
from e5studio.analysis.geometry import pair_cosines
from e5studio.analysis.neighbours import nearest_neighbours


def test_copies_are_grouped_the_largest_group_first():
    assert equal_groups(["a", "b", "c", "b", "c", "c"]) == [[2, 4, 5], [1, 3]]
    assert equal_groups(["a", "b"]) == equal_groups([]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A  Text\n", "a text"),
        ("Straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u0130stanbul", "\u0130STANBUL"),
        ("one\u00a0two", "one two"),
    ],
)
def test_ways_of_writing_are_folded(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("résumé", "resume"), ("a.b", "a b"), ("ab", "a b")])
def test_other_letters_and_marks_are_not(one, other):
    assert folded(one) != folded(other)


def test_the_first_of_each_stands_for_it():
    assert first_of_each(["b", "a", "b", "c", "a"]).tolist() == [0, 1, 3]
    assert first_of_each([]).tolist() == []


@pytest.mark.parametrize("shared", [0, 20])
def test_planted_near_copies_are_found_whatever_all_have_in_common(shared):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 50))
    rows[:, 0] += shared
    rows[150:160] = rows[:10] + 0.05 * draw.normal(size=(10, 50))
    rows[160] = rows[150] + 0.05 * draw.normal(size=50)
    threshold = near_threshold(pair_cosines(rows).mean)
    found = near_texts(nearest_neighbours(rows, n_neighbors=5), np.arange(200), threshold)
    assert found.groups == ((0, 150, 160), *((n, 150 + n) for n in range(1, 10)))
    assert min(found.nearest.values()) >= threshold
    assert set(found.nearest) == {row for group in found.groups for row in group}


def test_a_pair_is_found_if_one_of_it_was_asked_for():
    rows = np.array([[1, 0], [0, 1], [1, 0.001], [0.7, 0.7]])
    near = nearest_neighbours(rows, n_neighbors=2, rows_of=[2, 3])
    assert near_texts(near, [2, 3], 0.99).groups == ((0, 2),)


def test_the_threshold_follows_the_set():
    assert near_threshold(0) == pytest.approx(0.95)
    assert near_threshold(0.8) == pytest.approx(0.99)
    assert near_threshold(1) == 1
