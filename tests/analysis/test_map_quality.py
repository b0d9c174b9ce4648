"""How far a map can be trusted, held against the definition and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.analysis.map_quality import kept_neighbours, trustworthiness
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.analysis.projection import pca
from e5studio.errors import E5StudioError, NonFiniteError, VectorError

RNG = np.random.default_rng(7)
GROUPS = np.vstack([centre + 0.1 * RNG.normal(size=(15, 10)) for centre in np.eye(10)[:3]])


class TestTrustworthiness:
    @pytest.mark.parametrize("k", [1, 5, 24])
    def test_equals_scikit_learn(self, k: int) -> None:
        from sklearn.manifold import trustworthiness as reference

        rng = np.random.default_rng(4)
        rows, points = rng.standard_normal((50, 8)), rng.standard_normal((50, 2))
        expected = reference(rows, points, n_neighbors=k, metric="cosine")
        assert trustworthiness(rows, points, k) == pytest.approx(expected, abs=1e-12)

    def test_equals_itself_in_blocks(self, clusters: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = trustworthiness(clusters, clusters[:, :2], 10)
        monkeypatch.setattr("e5studio.analysis.projection._BLOCK_CELLS", 1000)
        assert trustworthiness(clusters, clusters[:, :2], 10) == whole
        assert 0.5 < whole < 0.99

    def test_the_space_itself_is_trusted_whole(self, clusters: np.ndarray) -> None:
        assert trustworthiness(clusters, clusters, 10) == 1

    def test_which_of_equal_vectors_is_nearest_does_not_matter(self) -> None:
        # A float32 product rounds these copies apart.
        rows = np.repeat(np.random.default_rng(5).standard_normal((4, 384)).astype(np.float32), 25, axis=0)
        rng = np.random.default_rng(6)
        points = np.repeat([[0, 0], [9, 0], [0, 9], [9, 9]], 25, axis=0) + rng.standard_normal((100, 2))
        assert trustworthiness(rows, points, 10) == 1

    def test_refuses_with_a_sentence(self) -> None:
        with pytest.raises(E5StudioError, match=r"fewer than 2\.5"):
            trustworthiness(np.eye(5), np.eye(5), 3)
        with pytest.raises(E5StudioError, match="5 embeddings and 4 coordinates"):
            trustworthiness(np.eye(5), np.eye(4), 1)
        with pytest.raises(NonFiniteError, match="coordinates"):
            trustworthiness(np.eye(5), np.full((5, 2), np.nan), 1)


class TestKeptNeighbours:
    def test_of_the_space_itself_is_all(self):
        plane = RNG.normal(size=(40, 2))
        unit = plane / np.linalg.norm(plane, axis=1, keepdims=True)
        near = nearest_neighbours(unit, n_neighbors=4)
        np.testing.assert_array_equal(kept_neighbours(near, unit), np.ones(40))

    def test_of_a_shuffled_map_is_little(self):
        near = nearest_neighbours(GROUPS, n_neighbors=4)
        shuffled = RNG.normal(size=(45, 2))
        assert kept_neighbours(near, shuffled).mean() < 0.4

    def test_blocks_change_nothing(self, monkeypatch):
        near = nearest_neighbours(GROUPS, n_neighbors=4)
        points = pca(GROUPS, 2).coordinates
        whole = kept_neighbours(near, points)
        monkeypatch.setattr("e5studio.analysis.projection._BLOCK_CELLS", 100)
        np.testing.assert_array_equal(kept_neighbours(near, points), whole)

    def test_single_point_loses_nothing(self):
        near = nearest_neighbours(GROUPS[:1], n_neighbors=4)
        assert kept_neighbours(near, [[0.0, 0.0]]).tolist() == [1]

    def test_of_another_set(self):
        with pytest.raises(VectorError, match="each needs its point"):
            kept_neighbours(nearest_neighbours(GROUPS, n_neighbors=2), np.zeros((3, 2)))
