"""t-SNE, and an axis of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.map_quality import kept_neighbours
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.analysis.projection import axis_between, pca, tsne
from e5studio.errors import VectorError

RNG = np.random.default_rng(7)
GROUPS = np.vstack([centre + 0.1 * RNG.normal(size=(15, 10)) for centre in np.eye(10)[:3]])


class TestTsne:
    @pytest.mark.parametrize("n_components", [2, 3])
    def test_keeps_groups_together(self, n_components):
        found = tsne(GROUPS, n_components)
        assert found.coordinates.shape == (45, n_components)
        near = nearest_neighbours(GROUPS, n_neighbors=5)
        assert kept_neighbours(near, found.coordinates).mean() > 0.4
        centres = [found.coordinates[start : start + 15].mean(axis=0) for start in (0, 15, 30)]
        within = max(np.linalg.norm(found.coordinates[:15] - centres[0], axis=1))
        assert np.linalg.norm(centres[0] - centres[1]) > within

    @pytest.mark.parametrize("n_components", [2, 3])
    @pytest.mark.parametrize("n_points", [6, 12, 24, 100])
    def test_few_points_neither_fly_apart_nor_fall_together(self, n_points, n_components):
        rows = np.random.default_rng(0).normal(size=(n_points, 20)) + 1
        found = tsne(rows, n_components).coordinates
        near = nearest_neighbours(rows, n_neighbors=max(n_points // 10, 2))
        assert kept_neighbours(near, found).mean() > kept_neighbours(near, pca(rows, n_components).coordinates).mean()
        assert 0.5 < np.abs(found).max() < 100

    def test_same_seed_same_map(self):
        np.testing.assert_array_equal(tsne(GROUPS, 2).coordinates, tsne(GROUPS, 2).coordinates)

    def test_perplexity_fits_the_set(self):
        assert tsne(GROUPS[:7], 2).perplexity == 2
        assert tsne(GROUPS, 2, perplexity=5).perplexity == 5

    def test_equal_vectors_lie_on_one_spot(self):
        assert not tsne(np.ones((9, 4)), 2).coordinates.any()

    @pytest.mark.parametrize("options", [{"perplexity": 0.5}, {"perplexity": float("nan")}])
    def test_impossible_perplexity(self, options):
        with pytest.raises(VectorError, match="perplexity"):
            tsne(GROUPS, 2, **options)

    def test_too_few_and_too_many_axes(self):
        with pytest.raises(VectorError, match="at least 5 points"):
            tsne(GROUPS[:4], 2)
        with pytest.raises(VectorError, match="2 or 3 axes"):
            tsne(GROUPS, 4)


class TestAxis:
    def test_first_axis_leads_from_start_to_end(self):
        start, end = GROUPS[:15].mean(axis=0), GROUPS[30:].mean(axis=0)
        found = axis_between(GROUPS, start, end, 2)
        first = found.coordinates[:, 0]
        assert first[:15].max() < first[30:].min()
        direction = (end - start) / np.linalg.norm(end - start)
        np.testing.assert_allclose(first, (GROUPS - GROUPS.mean(axis=0)) @ direction, atol=1e-6)

    def test_second_axis_is_the_widest_beside_it(self):
        found = axis_between(GROUPS, GROUPS[0], GROUPS[40], 2)
        first, second = found.coordinates.T.astype(np.float64)
        assert abs(np.corrcoef(first, second)[0, 1]) < 1
        assert 0 < sum(found.explained_variance) <= 1
        assert found.explained_variance[1] <= pca(GROUPS, 1).explained_variance[0] + 1e-6

    def test_one_axis_alone(self):
        assert axis_between(GROUPS, GROUPS[0], GROUPS[40], 1).coordinates.shape == (45, 1)

    @pytest.mark.parametrize("end", [GROUPS[0], GROUPS[0][:3], np.full(10, np.nan)])
    def test_no_direction(self, end):
        with pytest.raises(VectorError, match="different one"):
            axis_between(GROUPS, GROUPS[0], end, 2)
