"""Maps are right where they can be checked, finite where they can't, and refused with a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e5studio.analysis.projection import pca
from e5studio.errors import E5StudioError, NonFiniteError


class TestPca:
    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60), dim=st.integers(2, 40))
    @settings(max_examples=50, deadline=None)
    def test_keeps_what_the_singular_values_say(self, seed: int, n: int, dim: int) -> None:
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((n, dim)) * np.linspace(3, 1, dim) + 5
        centred = rows - rows.mean(axis=0)
        values = np.square(np.linalg.svd(centred, compute_uv=False))
        found = pca(rows, 2)
        assert found.coordinates.dtype == np.float32
        np.testing.assert_allclose(found.explained_variance, values[:2] / values.sum(), atol=1e-9)
        np.testing.assert_allclose(np.square(found.coordinates).sum(axis=0), values[:2], rtol=1e-5, atol=1e-9)

    def test_recovers_a_line(self) -> None:
        along = np.array([-2.0, 0, 2])
        found = pca(along[:, None] * [0.6, 0.8], 2)
        np.testing.assert_allclose(found.coordinates, np.column_stack([along, np.zeros(3)]), atol=1e-6)
        np.testing.assert_allclose(found.explained_variance, [1, 0])

    @pytest.mark.parametrize("n", [20, 120])
    def test_does_not_flip_with_the_order_of_the_texts(self, clusters: np.ndarray, n: int) -> None:
        shuffled = np.random.default_rng(1).permutation(n)
        np.testing.assert_allclose(
            pca(clusters[:n], 3).coordinates[shuffled], pca(clusters[:n][shuffled], 3).coordinates, atol=1e-5
        )

    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_few_points_fill_with_zeros(self, n: int) -> None:
        found = pca(np.eye(4, dtype=np.float32)[:n], 3)
        assert found.coordinates.shape == (n, 3)
        assert not found.coordinates[:, max(n - 1, 0) :].any()
        assert found.explained_variance == pytest.approx([float(n == 2), 0, 0])

    @pytest.mark.parametrize("n", [3, 500])
    def test_equal_vectors_lie_on_one_spot(self, n: int) -> None:
        rows = np.tile(np.random.default_rng(2).standard_normal(384).astype(np.float32), (n, 1))
        found = pca(rows, 2)
        assert not found.coordinates.any()
        assert found.explained_variance == (0, 0)

    def test_refuses_with_a_sentence(self) -> None:
        with pytest.raises(NonFiniteError) as caught:
            pca([[1.0, 2], [3, np.inf]], 2)
        assert caught.value.indices == (1,)
        with pytest.raises(E5StudioError, match="at least one axis"):
            pca(np.eye(3), 0)
