"""A map laid over another: turned, mirrored, scaled and moved back, and never bent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist

from e5studio.analysis.procrustes import aligned
from e5studio.errors import VectorError


@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.floats(0.1, 10))
def test_a_map_that_was_only_turned_and_scaled_comes_back(seed, n_dims, scale):
    random = np.random.default_rng(seed)
    points = random.normal(size=(12, n_dims))
    turn, _ = np.linalg.qr(random.normal(size=(n_dims, n_dims)))  # a mirror, too, half of the time
    np.testing.assert_allclose(aligned(scale * points @ turn + 5, points), points, atol=1e-4)


@given(st.integers(0, 10_000))
def test_nothing_lies_nearer_and_nothing_is_bent(seed):
    random = np.random.default_rng(seed)
    points, onto = random.normal(size=(2, 9, 2))
    found = aligned(points, onto).astype(float)
    ratio = pdist(found) / pdist(points)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    left = ((found - onto) ** 2).sum() / ((onto - onto.mean(axis=0)) ** 2).sum()
    assert left == pytest.approx(procrustes(onto, points)[2], abs=1e-4)


def test_one_point_and_points_in_one_place_are_moved():
    np.testing.assert_array_equal(aligned([[3, 4]], [[1, 2]]), [[1, 2]])
    np.testing.assert_array_equal(aligned([[3, 4]] * 2, [[0, 0], [2, 2]]), [[1, 1]] * 2)
    assert aligned(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0, 2)


def test_maps_of_other_points_are_refused():
    with pytest.raises(VectorError, match="shapes"):
        aligned(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(VectorError, match="NaN"):
        aligned([[np.nan, 0]], [[0, 0]])
