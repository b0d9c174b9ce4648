"""Neighbours are the others, copies included, and never the vector itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.errors import E5StudioError, NonFiniteError
from e5studio.similarity import cos_sim


@given(
    hnp.arrays(np.int8, st.tuples(st.integers(2, 60), st.integers(1, 3)), elements=st.integers(-1, 1)),
    st.integers(1, 12),
)
def test_equals_sorting_all_the_others(rows: np.ndarray, n_neighbors: int) -> None:
    found = nearest_neighbours(rows, n_neighbors=n_neighbors)
    cosines = np.round(cos_sim(rows, rows), 6)
    np.fill_diagonal(cosines, -2)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(n_neighbors, len(rows) - 1)]
    np.testing.assert_array_equal(found.ids, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(cosines, order, axis=1), atol=1e-6)


def test_a_vector_behind_many_copies_still_leaves_itself_out() -> None:
    found = nearest_neighbours(np.ones((5000, 4)), n_neighbors=3)
    np.testing.assert_array_equal(found.ids[[0, 1, 4999]], [[1, 2, 3], [0, 2, 3], [0, 1, 2]])
    assert (found.scores == 1).all()


@pytest.mark.parametrize(("n", "columns"), [(0, 0), (1, 0), (2, 1), (4, 3)])
def test_small_sets_give_what_there_is(n: int, columns: int) -> None:
    found = nearest_neighbours(np.eye(4)[:n], n_neighbors=15)
    assert found.ids.shape == found.scores.shape == (n, columns)


def test_refuses_with_a_sentence() -> None:
    with pytest.raises(E5StudioError, match="n_neighbors is 0"):
        nearest_neighbours(np.eye(3), n_neighbors=0)
    with pytest.raises(NonFiniteError) as caught:
        nearest_neighbours([[1.0, 0], [np.nan, 0]], n_neighbors=1)
    assert caught.value.indices == (1,)
