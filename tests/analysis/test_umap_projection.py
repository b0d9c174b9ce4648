"""UMAP keeps neighbours together, takes any vectors, and works where it cannot write."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from e5studio.analysis import umap_projection
from e5studio.analysis.map_quality import trustworthiness
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.analysis.umap_projection import umap, warm_umap
from e5studio.errors import E5StudioError, MissingDependencyError


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
        script = "from e5studio.analysis.umap_projection import warm_umap; warm_umap().join(0.5)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")


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
    assert umap_projection._import_with_cache("compiled_module").__name__ == "compiled_module"
    assert os.access(os.environ["NUMBA_CACHE_DIR"], os.W_OK)
    monkeypatch.delitem(sys.modules, "compiled_module")
