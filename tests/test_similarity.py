"""The search must give what sorting all scores would give, on kind and on hostile data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e5studio import similarity
from e5studio.errors import E5StudioError, FingerprintMismatchError, NonFiniteError, VectorError
from e5studio.similarity import Hit, TopKSearch, cos_sim, pairwise_cos_sim, scores, semantic_search, top_k_search


def exact_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    def unit(rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths > 0, lengths, 1)

    # Equal vectors must tie here too, though a product rounds them apart.
    return np.clip(np.round(unit(a) @ unit(b).T, 9), -1, 1).astype(np.float32)


def assert_is_full_sort(queries: np.ndarray, corpus: np.ndarray, top_k: int) -> None:
    found = top_k_search(queries, corpus, top_k=top_k)
    cosines = exact_cosines(queries, corpus)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :top_k]
    np.testing.assert_array_equal(found.ids, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(cosines, order, axis=1), rtol=0, atol=1.2e-7)


def random_unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def alike(rng: np.random.Generator, n: int, dim: int, mean: np.ndarray) -> np.ndarray:
    """Unit vectors whose cosines lie near 0.8, as E5's do."""
    rows = mean + 0.5 * random_unit(rng, n, dim)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_BLOCK_ROWS", 24)
    monkeypatch.setattr(similarity, "_GROUP_ROWS", 4)
    monkeypatch.setattr(similarity, "_BLOCK_QUERIES", 3)


class TestCosSim:
    def test_knows_a_triangle(self) -> None:
        found = cos_sim([[3, 0], [0, 5]], [[1, 0], [1, 1]])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [[1, 2**-0.5], [0, 2**-0.5]], atol=1e-7)

    def test_scores_are_cosines_times_a_hundred(self) -> None:
        np.testing.assert_allclose(scores([[1.0, 0]], [[0.8, 0.6], [-1, 0]]), [[80, -100]], atol=1e-5)

    def test_one_vector_counts_as_one_row(self) -> None:
        assert cos_sim(np.ones(3), np.ones((4, 3))).shape == (1, 4)

    @pytest.mark.parametrize("size", [0, 1e-300, 1e-30, 1e30, 1e300])
    def test_no_length_gives_nan(self, size: float) -> None:
        found = cos_sim(np.array([[size, size], [1.0, 1.0]]), np.array([[1.0, 1.0], [size, 0.0]]))
        straight = 0 if size == 0 else 1
        slanted = 0 if size == 0 else 2**-0.5
        np.testing.assert_allclose(found, [[straight, slanted], [1, slanted]], atol=2e-7)

    def test_never_exceeds_one(self) -> None:
        rows = random_unit(np.random.default_rng(0), 300, 384)
        assert np.abs(cos_sim(rows, rows)).max() == 1

    def test_gives_the_numbers_of_the_search_and_the_same_for_copies(self) -> None:
        rng = np.random.default_rng(8)
        queries = alike(rng, 1100, 384, random_unit(rng, 1, 384))
        corpus = np.repeat(alike(rng, 1000, 384, queries[:1]), 3, axis=0)
        found, cosines = top_k_search(queries, corpus), cos_sim(queries, corpus)
        np.testing.assert_array_equal(found.scores, np.take_along_axis(cosines, found.ids, axis=1))
        np.testing.assert_array_equal(cosines[:, 0::3], cosines[:, 2::3])

    @pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8])
    def test_takes_any_real_dtype(self, dtype: type[np.generic]) -> None:
        rows = (100 * random_unit(np.random.default_rng(0), 20, 16)).astype(dtype)
        np.testing.assert_allclose(cos_sim(rows, rows), exact_cosines(rows, rows), atol=1e-6)

    def test_nothing_with_something_is_an_empty_matrix(self) -> None:
        assert cos_sim([], np.ones((3, 2))).shape == (0, 3)
        assert scores(np.empty((0, 2)), np.empty((0, 2))).shape == (0, 0)


class TestExactness:
    @pytest.mark.usefixtures("small_blocks")
    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_equals_full_sort_with_ties_everywhere(self, data: st.DataObject) -> None:
        few_directions = st.integers(-1, 1)
        dim = data.draw(st.integers(1, 4))
        queries = data.draw(hnp.arrays(np.int8, (data.draw(st.integers(1, 7)), dim), elements=few_directions))
        corpus = data.draw(hnp.arrays(np.int8, (data.draw(st.integers(1, 150)), dim), elements=few_directions))
        assert_is_full_sort(queries, corpus, data.draw(st.integers(1, 40)))

    @pytest.mark.usefixtures("small_blocks")
    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400), top_k=st.integers(1, 50))
    @settings(max_examples=60, deadline=None)
    def test_equals_full_sort_of_unnormalised_vectors(self, seed: int, n: int, top_k: int) -> None:
        rng = np.random.default_rng(seed)
        corpus = rng.standard_normal((n, 8)) * rng.exponential(10, (n, 1))
        assert_is_full_sort(rng.standard_normal((5, 8)), corpus, top_k)

    @pytest.mark.parametrize("order", ["as drawn", "best last", "best first"])
    def test_equals_full_sort_whatever_the_order(self, order: str) -> None:
        rng = np.random.default_rng(1)
        mean = random_unit(rng, 1, 48)
        query = alike(rng, 1, 48, mean)
        queries = alike(rng, 20, 48, query)
        corpus = alike(rng, 20_000, 48, mean)
        if order != "as drawn":
            ascending = np.argsort(corpus @ query[0])
            corpus = corpus[ascending if order == "best last" else ascending[::-1]]
        assert_is_full_sort(queries, corpus, 10)

    def test_equals_full_sort_in_clusters(self) -> None:
        rng = np.random.default_rng(2)
        centres = random_unit(rng, 30, 64)
        corpus = np.concatenate([alike(rng, 400, 64, centre) for centre in centres])
        assert_is_full_sort(alike(rng, 30, 64, centres), corpus, 25)

    @pytest.mark.parametrize("copies", [3, 40, 2500])
    @pytest.mark.parametrize("arrange", [np.repeat, lambda rows, copies, axis: np.tile(rows, (copies, 1))])
    def test_copies_have_equal_scores_and_come_in_order(self, copies: int, arrange: object) -> None:
        rng = np.random.default_rng(3)
        # A product rounds the copies apart by place in the block; the odd sizes make sure that it does.
        corpus = arrange(alike(rng, 11, 384, random_unit(rng, 1, 384)), copies, axis=0)  # type: ignore[operator]
        queries = alike(rng, 37, 384, random_unit(rng, 1, 384))
        assert_is_full_sort(queries, corpus, 10)
        assert (np.diff(top_k_search(queries, corpus, top_k=min(copies, 10)).scores) == 0).all()

    def test_a_crowd_within_rounding_loses_nothing_that_matters(self) -> None:
        rng = np.random.default_rng(4)
        corpus = random_unit(rng, 1, 64) + 1e-7 * rng.standard_normal((9000, 64))
        queries = random_unit(rng, 5, 64)
        best = np.sort(exact_cosines(queries, corpus), axis=1)[:, :-11:-1]
        assert np.abs(top_k_search(queries, corpus, top_k=10).scores - best).max() < 1e-5

    def test_a_query_finds_the_same_alone_and_in_company(self) -> None:
        rng = np.random.default_rng(5)
        queries, corpus = random_unit(rng, 50, 32), random_unit(rng, 9000, 32)
        together = top_k_search(queries, corpus)
        for row in (0, 17, 49):
            alone = top_k_search(queries[row], corpus)
            np.testing.assert_array_equal(alone.ids[0], together.ids[row])
            np.testing.assert_array_equal(alone.scores[0], together.scores[row])

    def test_zero_vectors_score_zero_and_nothing_breaks(self) -> None:
        found = top_k_search(np.array([[0.0, 0], [1, 0]]), np.array([[-1.0, 0], [0, 0], [2, 0]]))
        np.testing.assert_array_equal(found.ids, [[0, 1, 2], [2, 1, 0]])
        np.testing.assert_array_equal(found.scores, [[0, 0, 0], [1, 0, -1]])


class TestSearch:
    def test_returns_hits_best_first(self) -> None:
        found = semantic_search([[1.0, 0]], [[0, 1.0], [2, 0], [1, 1]], top_k=2)
        assert found == [[Hit(1, 1.0), Hit(2, pytest.approx(2**-0.5))]]
        assert isinstance(found[0][0].corpus_id, int)
        assert isinstance(found[0][0].score, float)

    def test_gives_all_where_there_are_fewer_than_asked_for(self) -> None:
        assert [len(row) for row in semantic_search(np.eye(2), np.eye(2), top_k=99)] == [2, 2]

    def test_empty_sides_give_empty_lists(self) -> None:
        assert semantic_search(np.empty((0, 4)), np.eye(4)) == []
        assert semantic_search(np.eye(4)[:2], np.empty((0, 4))) == [[], []]
        assert semantic_search([], []) == []

    def test_reads_a_float16_memory_map(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(6)
        corpus = random_unit(rng, 9001, 16).astype(np.float16)
        np.save(tmp_path / "corpus.npy", corpus)
        assert_is_full_sort(random_unit(rng, 9, 16), np.load(tmp_path / "corpus.npy", mmap_mode="r"), 10)

    def test_leaves_its_arguments_alone(self) -> None:
        rng = np.random.default_rng(7)
        queries, corpus = rng.standard_normal((4, 8)), rng.standard_normal((50, 8)).astype(np.float32)
        before = queries.copy(), corpus.copy()
        top_k_search(queries, corpus)
        np.testing.assert_array_equal(queries, before[0])
        np.testing.assert_array_equal(corpus, before[1])


class TestRefusals:
    def test_other_dimensions(self) -> None:
        with pytest.raises(FingerprintMismatchError, match="384 dimensions and corpus_embeddings has 768"):
            semantic_search(np.ones((2, 384)), np.ones((3, 768)))
        with pytest.raises(FingerprintMismatchError, match="a has 2 dimensions and b has 3"):
            cos_sim(np.ones((2, 2)), np.ones((3, 3)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_nan_and_infinity_are_named_by_row(self, bad: float) -> None:
        corpus = np.ones((9000, 4), np.float32)
        corpus[[5, 8999], 2] = bad
        with pytest.raises(NonFiniteError, match="corpus_embeddings holds NaN or infinity in row 5") as caught:
            top_k_search(np.ones((1, 4)), corpus)
        assert caught.value.indices == (5,)
        corpus[5] = 1
        with pytest.raises(NonFiniteError, match="row 8999") as caught:
            top_k_search(np.ones((1, 4)), corpus)
        with pytest.raises(NonFiniteError, match="query_embeddings") as caught:
            top_k_search(corpus, np.ones((1, 4)))
        assert caught.value.indices == (8999,)
        with pytest.raises(NonFiniteError, match="b holds"):
            cos_sim(np.ones((1, 4)), corpus)

    @pytest.mark.parametrize("top_k", [0, -1])
    def test_top_k_below_one(self, top_k: int) -> None:
        with pytest.raises(similarity.VectorError, match=f"top_k is {top_k}"):
            top_k_search(np.eye(2), np.eye(2), top_k=top_k)

    @pytest.mark.parametrize(
        "vectors", [np.ones((2, 2, 2)), [["a"]], [[1.0, 2.0], [1.0]], np.ones((1, 2), complex), 3.0, [[None]]]
    )
    def test_what_is_no_array_of_vectors(self, vectors: object) -> None:
        with pytest.raises(E5StudioError, match="corpus_embeddings"):
            top_k_search(np.ones((1, 2)), vectors)  # type: ignore[arg-type]


class TestBlockByBlock:
    @settings(max_examples=100)
    @given(
        corpus=hnp.arrays(
            np.float32, st.tuples(st.integers(1, 30), st.just(2)), elements=st.sampled_from([-1, 0, 1, 2])
        ),
        queries=hnp.arrays(np.float32, (3, 2), elements=st.sampled_from([-1, 1, 2])),
        borders=st.lists(st.integers(0, 30), max_size=4),
        top_k=st.integers(1, 35),
    )
    def test_any_cut_finds_what_the_whole_finds(
        self, corpus: np.ndarray, queries: np.ndarray, borders: list[int], top_k: int
    ) -> None:
        search = TopKSearch(queries, top_k=top_k)
        for block in np.split(corpus, sorted(min(border, len(corpus)) for border in borders)):
            search.add(block)
        whole = top_k_search(queries, corpus, top_k=top_k)
        np.testing.assert_array_equal(search.best.ids, whole.ids)
        np.testing.assert_array_equal(search.best.scores, whole.scores)

    def test_nothing_searched_yet(self) -> None:
        assert TopKSearch(np.eye(2), top_k=5).best.ids.shape == (2, 0)


class TestPairwise:
    def test_equals_the_diagonal(self) -> None:
        rng = np.random.default_rng(5)
        a, b = rng.standard_normal((2, 50, 7))
        np.testing.assert_array_equal(pairwise_cos_sim(a, b), np.diag(cos_sim(a, b)))

    def test_other_numbers_of_rows(self) -> None:
        with pytest.raises(VectorError, match="partner"):
            pairwise_cos_sim(np.eye(3), np.eye(3)[:2])
