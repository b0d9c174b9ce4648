"""Quantised vectors are sentence-transformers' numbers, and the search over them ranks as its definition says."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from e5studio import quantization
from e5studio.errors import FingerprintMismatchError, NonFiniteError, VectorError
from e5studio.quantization import PRECISIONS, QuantizedSearch, Ranges, dequantize, quantize, quantized_search
from e5studio.similarity import cos_sim, top_k_search

QUANTIZED = PRECISIONS[1:]


def alike(n, embed_dim=48, seed=0):
    """Unit vectors that have much in common, as E5's have."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal(embed_dim) + rng.standard_normal((n, embed_dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def corpus():
    return alike(300)


@pytest.fixture
def queries():
    return alike(303)[300:]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("embed_dim", [48, 13])
def test_numbers_are_those_of_sentence_transformers(precision, embed_dim):
    vectors = alike(100, embed_dim)
    vectors[:, 3] = 0.1  # a dimension without a range
    ranges = Ranges.of(vectors[:60])
    expected = quantize_embeddings(vectors, precision, ranges=np.stack([ranges.low, ranges.high]))
    codes = quantize(vectors, precision, ranges)
    assert codes.dtype == expected.dtype
    np.testing.assert_array_equal(codes, expected)


def test_fixed_range_rounds_about_zero():
    vectors = alike(50)
    codes = quantize(vectors, "int8", Ranges.fixed(48))
    exact = 127 * vectors.astype(np.float64) * np.sqrt(48) / 4
    assert np.abs(codes - np.clip(exact, -128, 127)).max() < 0.5001
    assert (quantize(np.zeros((1, 48)), "int8", Ranges.fixed(48)) == 0).all()


def test_round_trip_errs_by_half_a_step(corpus):
    corpus[:, 5] = 0.25
    ranges = Ranges.of(corpus)
    for precision in ("int8", "uint8"):
        again = dequantize(quantize(corpus, precision, ranges), precision, ranges=ranges)
        assert (np.abs(again - corpus) <= ranges.steps / 2 + 1e-7).all()
    for precision in ("binary", "ubinary"):
        signs = dequantize(quantize(corpus[:, :13], precision), precision, embed_dim=13)
        np.testing.assert_array_equal(signs, np.where(corpus[:, :13] > 0, 1, -1))
    assert dequantize(quantize(corpus, "float32"), "float32") is corpus


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8"])
def test_search_scores_the_dequantised_vectors(precision, corpus, queries, monkeypatch):
    ranges = Ranges.of(corpus)
    codes = quantize(corpus, precision, ranges)
    monkeypatch.setattr(quantization, "_NUMBERS_AT_ONCE", 48 * 70)
    best = quantized_search(queries, codes, precision, ranges=ranges, top_k=7)
    expected = top_k_search(queries, dequantize(codes, precision, ranges=ranges), top_k=7)
    np.testing.assert_array_equal(best.ids, expected.ids)
    np.testing.assert_array_equal(best.scores, expected.scores)


@pytest.mark.parametrize("precision", ["binary", "ubinary"])
def test_binary_search_rescores_the_nearest_by_distance(precision, queries):
    corpus = np.concatenate([alike(300)[:, :45], alike(9)[:, :45]])  # with ties, and not eight to each byte
    queries = queries[:, :45]
    codes = quantize(corpus, precision)
    best = quantized_search(queries, codes, precision, top_k=12, n_rescored=8)
    signs = np.where(corpus > 0, 1, -1)
    for row, query in enumerate(queries):
        distances = (signs != np.where(query > 0, 1, -1)).sum(axis=1)
        nearest = np.argsort(distances, kind="stable")[:12]
        cosines = cos_sim(query, signs)[0]
        expected = sorted(nearest[:8], key=lambda each, of=cosines: (-of[each], each))
        np.testing.assert_array_equal(best.ids[row], [*expected, *nearest[8:]])
        np.testing.assert_allclose(best.scores[row, :8], cosines[expected], atol=1e-6)
        np.testing.assert_allclose(best.scores[row, 8:], 1 - 2 * distances[nearest[8:]] / 45 - 2, atol=1e-6)
    assert quantized_search(queries, codes, precision, top_k=500).ids.shape == (3, 309)
    assert quantized_search(queries, codes[:0], precision).ids.shape == (3, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_blocks_change_nothing(precision, corpus, queries, monkeypatch):
    ranges = Ranges.of(corpus[:200])
    codes = quantize(corpus, precision, ranges)
    whole = quantized_search(queries, codes, precision, ranges=ranges, top_k=7)
    monkeypatch.setattr(quantization, "_NUMBERS_AT_ONCE", 48 * 30)
    search = QuantizedSearch(queries, precision, top_k=7)
    for block in (corpus[:200], corpus[200:]):
        search.add(block)
    np.testing.assert_array_equal(search.best.ids, whole.ids)
    np.testing.assert_array_equal(search.best.scores, whole.scores)
    assert search.n_seen == 300


def test_real_model_loses_little(boxed_encoder):
    """What a test of 64 texts can show: int8 finds what float32 finds; binary, rescored, keeps most first places."""
    texts = [
        f"{subject} {verb}"
        for subject in "a cat,the moon,my bank,rain,a law,bread,the team,light".split(",")
        for verb in "sleeps,is bright,charges fees,falls in spring,was passed,is baked,won again,travels".split(",")
    ]
    corpus = boxed_encoder.encode(texts, prompt_name="document")
    queries = boxed_encoder.encode(texts, prompt_name="query")
    ranges = Ranges.of(corpus)
    exact = top_k_search(queries, corpus, top_k=5).ids
    shares = {}
    for precision in ("int8", "binary"):
        hits = quantized_search(queries, quantize(corpus, precision, ranges), precision, ranges=ranges, top_k=5).ids
        shares[precision] = np.mean([len({*a} & {*b}) / 5 for a, b in zip(hits, exact, strict=True)])
    assert shares["int8"] > 0.97
    assert 0.5 < shares["binary"] < shares["int8"]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda rows: quantize(rows, "int4"), VectorError, "'int8'"),
        (lambda rows: quantize(rows, "int8"), VectorError, "Ranges.of"),
        (lambda rows: quantize(rows.astype(np.int8), "binary"), VectorError, "already"),
        (lambda rows: quantize(rows * np.nan, "binary"), NonFiniteError, "row 0"),
        (lambda rows: quantize(rows, "int8", Ranges.fixed(47)), FingerprintMismatchError, "47"),
        (lambda rows: Ranges.of(rows[:1]), VectorError, "at least 2"),
        (lambda rows: Ranges(rows[0], rows[1] - 9), VectorError, "above"),
        (lambda rows: Ranges(rows[0], rows[1, :5]), VectorError, "shape"),
        (lambda rows: dequantize(quantize(rows, "ubinary"), "int8"), VectorError, "uint8"),
        (lambda rows: dequantize(quantize(rows, "binary"), "binary", embed_dim=49), FingerprintMismatchError, "7"),
        (
            lambda rows: quantized_search(rows, quantize(rows[:, :40], "binary"), "binary"),
            FingerprintMismatchError,
            "these 5",
        ),
        (lambda rows: quantized_search(rows, rows, "float32", top_k=0), VectorError, "top_k"),
        (lambda rows: quantized_search(rows, quantize(rows, "binary"), "binary", n_rescored=0), VectorError, "0"),
    ],
)
def test_bad_input(call, error, said, corpus):
    with pytest.raises(error, match=said):
        call(corpus)


@pytest.mark.parametrize("precision", QUANTIZED)
def test_one_vector_is_a_row(precision):
    assert len(quantize(alike(1)[0], precision, Ranges.fixed(48))) == 1
