"""Search over the file beside the shards finds what a search over the shards finds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from e5studio.backends.int8_products import Int8Products
from e5studio.errors import OutputError
from e5studio.jobs import search_index
from e5studio.jobs.search_index import SearchIndex, index_of
from e5studio.jobs.vectors import ShardVectors
from e5studio.similarity import TopKSearch
from tests.jobs.conftest import text_of

pytest.importorskip("pyarrow")
N_ROWS = 900


@pytest.fixture(params=["float32", "float16", "int8", "uint8", "binary", "ubinary"])
def job(run, own, out, tmp_path, request):
    """A job of so many rows that an index has several blocks."""
    path = tmp_path / "t.txt"
    path.write_text("".join(f"{text_of(number)} {number * 7919}\n" for number in range(N_ROWS)))
    run("encode", path, "-o", out, "--precision", request.param, "--shard-rows", 250, *own)
    return ShardVectors(out)


@pytest.fixture
def queries(job):
    rng = np.random.default_rng(0)
    vectors = job.vectors_at(np.arange(0, N_ROWS, 90))
    noise = rng.standard_normal(vectors.shape).astype(np.float32) * np.abs(vectors).mean() / 2
    return vectors + noise


def test_the_index_finds_what_the_shards_hold(job, queries, monkeypatch):
    monkeypatch.setattr(search_index, "_ROWS_AT_ONCE", 200)
    monkeypatch.setattr(search_index, "CANDIDATES", 30)
    exact = TopKSearch(queries, top_k=10)
    for block in job.blocks():
        exact.add(block)
    best = SearchIndex(job).search(queries, 10)
    np.testing.assert_allclose(best.scores, exact.best.scores, atol=1e-5)
    whole = np.concatenate(list(job.blocks()))
    unit = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    own = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", own, unit[best.ids]), best.scores, atol=1e-5)


def test_all_vectors_where_more_are_wanted(job, queries):
    assert SearchIndex(job).search(queries, 2 * N_ROWS).ids.shape == (len(queries), N_ROWS)


@pytest.mark.parametrize("job", ["int8"], indirect=True)
class TestCommand:
    def test_finds_the_same_with_and_without_it(self, run, own, job, out, monkeypatch):
        command = ["search", out, "a cat at night", "--model", own[1], "--json"]
        without = json.loads(run(*command).stdout)["results"]
        assert not (out / "index").exists()
        monkeypatch.setattr(search_index, "LEAST_VECTORS", 1)
        monkeypatch.setattr(search_index, "CANDIDATES", 30)
        for _ in range(2):
            assert json.loads(run(*command).stdout)["results"] == without
            assert len(list((out / "index").iterdir())) == 1

    def test_goes_on_and_begins_anew_beside_it(self, run, own, job, out, tmp_path):
        SearchIndex(job)
        command = ["encode", tmp_path / "t.txt", "-o", out, "--shard-rows", 250, *own]
        assert run(*command, "--precision", "int8").exit_code == 0
        assert run(*command, "--overwrite").exit_code == 0
        assert not (out / "index").exists()


@pytest.mark.parametrize("job", ["float32"], indirect=True)
def test_a_folder_that_cannot_be_written_is_searched_without(job, monkeypatch):
    monkeypatch.setattr(search_index, "LEAST_VECTORS", 1)

    def refused(*_, **__):
        raise OutputError("no")

    monkeypatch.setattr(search_index, "atomic_files", refused)
    assert index_of(job) is None


@pytest.mark.parametrize("is_native", [True, False])
def test_products_are_exact(is_native, monkeypatch):
    monkeypatch.setattr(Int8Products, "_is_faster", lambda *_: is_native)
    rng = np.random.default_rng(1)
    rows, queries = (rng.integers(-127, 128, (n, 1024), dtype=np.int8) for n in (50, 3))
    np.testing.assert_array_equal(Int8Products(queries).of(rows), queries.astype(np.int64) @ rows.astype(np.int64).T)
