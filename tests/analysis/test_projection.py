"""Maps are right where they can be checked, finite where they can't, and refused with a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e5studio.analysis import projection
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.analysis.projection import pca, trustworthiness, umap, warm_umap
from e5studio.errors import E5StudioError, MissingDependencyError, NonFiniteError


@pytest.fixture(scope="module")
def clusters() -> np.ndarray:
    """Four well separated clusters of 30, cosines between 0.6 and 1 as E5 gives them."""
    rng = np.random.default_rng(0)
    centres = 1 + 0.6 * rng.standard_normal((4, 32))
    rows = np.repeat(centres, 30, axis=0) + 0.15 * rng.standard_normal((120, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


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


class TestUmap:
    @pytest.mark.parametrize("n_components", [2, 3])
    @pytest.mark.parametrize("seed", [None, 7])
    def test_keeps_clusters_together(self, clusters: np.ndarray, n_components: int, seed: int | None) -> None:
        found = umap(clusters, n_components, seed=seed)
        assert found.coordinates.shape == (120, n_components)
        assert found.coordinates.dtype == np.float32
        assert (found.method, found.n_neighbors, found.min_dist, found.seed) == ("umap", 15, 0.1, seed)
        centres = found.coordinates.reshape(4, 30, -1).mean(axis=1)
        apart = np.linalg.norm(found.coordinates[:, None] - centres, axis=2)
        np.testing.assert_array_equal(apart.argmin(axis=1), np.repeat(range(4), 30))
        assert trustworthiness(clusters, found.coordinates, 15) > 0.8

    def test_a_seed_makes_it_reproducible(self, clusters: np.ndarray) -> None:
        first, second = umap(clusters, 2, seed=3), umap(clusters, 2, seed=3)
        np.testing.assert_array_equal(first.coordinates, second.coordinates)

    def test_takes_neighbours_at_hand(self, clusters: np.ndarray) -> None:
        at_hand = nearest_neighbours(clusters, n_neighbors=30)
        given_them = umap(clusters, 2, seed=3, precomputed_knn=at_hand)
        np.testing.assert_array_equal(given_them.coordinates, umap(clusters, 2, seed=3).coordinates)
        with pytest.raises(E5StudioError, match=r"need \(119, 14\)"):
            umap(clusters[1:], 2, precomputed_knn=at_hand)

    @pytest.mark.parametrize("n", [5, 6, 16])
    def test_reduces_the_neighbourhood_of_a_small_set_and_says_so(self, clusters: np.ndarray, n: int) -> None:
        found = umap(clusters[:n], 3, seed=0)
        assert np.isfinite(found.coordinates).all()
        assert found.n_neighbors == min(15, n - 1)

    @pytest.mark.parametrize(
        "rows",
        [
            np.ones((6, 8)),
            np.repeat(np.eye(8), 20, axis=0),
            np.concatenate([np.ones((30, 8)), -np.ones((30, 8))]),
            np.concatenate([np.eye(8), -np.eye(8), np.zeros((2, 8))]),
        ],
        ids=["all equal", "copies", "two opposite spots", "opposites and zeros"],
    )
    def test_degenerate_vectors_give_finite_points(self, rows: np.ndarray) -> None:
        assert np.isfinite(umap(rows, 2, seed=0).coordinates).all()

    def test_two_at_once_both_arrive(self, clusters: np.ndarray) -> None:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda seed: umap(clusters, 2, seed=seed), [None, 0, None, 0]))
        np.testing.assert_array_equal(found[1].coordinates, found[3].coordinates)

    @pytest.mark.parametrize(
        ("n", "arguments", "message"),
        [
            (4, {}, "at least 5 points and got 4. Add texts, or use PCA"),
            (9, {"n_components": 33}, "only 32 dimensions"),
            (9, {"n_components": 0}, "at least one axis"),
            (9, {"n_neighbors": 1}, "give at least 2"),
            (9, {"min_dist": 1.5}, "from 0 .* to 1"),
            (9, {"seed": -1}, "seed is -1"),
        ],
    )
    def test_refuses_with_a_sentence(
        self, clusters: np.ndarray, n: int, arguments: dict[str, float], message: str
    ) -> None:
        with pytest.raises(E5StudioError, match=message):
            umap(clusters[:n], **{"n_components": 2, **arguments})

    def test_names_the_command_where_the_package_is_missing(
        self, clusters: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "umap", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "e5studio\[studio\]"'):
            umap(clusters, 2)
        warm_umap().join()

    def test_a_program_may_end_while_it_warms(self) -> None:
        script = "from e5studio.analysis.projection import warm_umap; warm_umap().join(0.5)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")


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


def test_what_numba_compiles_is_imported_where_no_cache_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with a read-only root: numba takes a folder that the environment names, and no other."""
    (tmp_path / "compiled_module.py").write_text(
        "import os\nif not os.environ.get('NUMBA_CACHE_DIR'):\n    raise RuntimeError('cannot cache function f')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setitem(sys.modules, "numba", SimpleNamespace(config=SimpleNamespace(reload_config=lambda: None)))
    assert projection._import_with_cache("compiled_module").__name__ == "compiled_module"
    assert os.access(os.environ["NUMBA_CACHE_DIR"], os.W_OK)
    monkeypatch.delitem(sys.modules, "compiled_module")
