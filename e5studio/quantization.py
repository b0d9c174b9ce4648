"""Vectors in fewer bits: int8 and binary, the ranges that int8 needs, and the search over them.

The numbers are those of sentence-transformers' `quantize_embeddings`, and the binary ones Cohere's too (whose int8
ranges are not published):

- uint8: `floor((x - low) / step)`, cut to 0..255, where 255 steps make the range of the dimension; int8: the same
  minus 128.
- ubinary: the signs, eight to a byte, first dimension in the highest bit, 1 where `x > 0`; binary: the same minus 128.

Unlike there, int8 never takes the range of the vectors at hand unasked: numbers of two ranges cannot be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import FingerprintMismatchError, VectorError
from e5studio.similarity import FloatArray, IdArray, TopK, TopKSearch, as_rows, cos_sim, require_finite

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

RESCORED = 4
"""Of binary vectors, so many times the hits are taken by their distance and then scored anew."""

_LEVELS = 255
_FIXED_RANGE = 4.0  # times the root mean square of a unit vector's numbers
_NUMBERS_AT_ONCE = 1 << 24  # in float32: 64 MB
_BYTES_OF_A_WORD = 8
_DTYPES = {"int8": np.int8, "uint8": np.uint8, "binary": np.int8, "ubinary": np.uint8}


@dataclass(frozen=True, eq=False)
class Ranges:
    """The calibration of int8 and uint8 vectors: between which numbers each dimension has its 255 steps.

    What lies outside is cut to the ends.

    Attributes:
        low: Lower ends, float32 (dim,).
        high: Upper ends.

    Raises:
        VectorError: They are not two ends of each dimension, the lower one first.
    """

    low: FloatArray
    high: FloatArray

    def __post_init__(self) -> None:
        ends = [np.asarray(each, np.float32) for each in (self.low, self.high)]
        are_ends = ends[0].ndim == 1 and ends[0].shape == ends[1].shape and np.isfinite(ends).all()
        if not are_ends or (ends[0] > ends[1]).any():
            raise VectorError("Ranges are two arrays of shape (dim,), finite, and low is nowhere above high.")
        object.__setattr__(self, "low", ends[0])
        object.__setattr__(self, "high", ends[1])

    @classmethod
    def of(cls, vectors: ArrayLike) -> Ranges:
        """The least and the greatest number of each dimension, in a corpus or a good part of it.

        Raises:
            VectorError: There are fewer than two vectors.
            NonFiniteError: A vector holds NaN or infinity.
        """
        rows = _float_rows(vectors)
        if len(rows) < 2:
            raise VectorError(f"Ranges need at least 2 vectors, and better thousands; got {len(rows)}.")
        return cls(rows.min(axis=0), rows.max(axis=0))

    @classmethod
    def fixed(cls, embed_dim: int) -> Ranges:
        """A range for unit vectors of any model and text: int8 is then `round(127 x sqrt(dim) / 4)`.

        Zero is zero, so that products of int8 vectors compare as cosines do; and vectors that were quantised at
        different times may be compared.
        """
        step = _FIXED_RANGE / math.sqrt(embed_dim) / 127
        # floor() of half a step more is round().
        return cls(np.full(embed_dim, -128.5 * step, np.float32), np.full(embed_dim, 126.5 * step, np.float32))

    @property
    def steps(self) -> FloatArray:
        """The width of a step in each dimension; 0 where all numbers are equal."""
        widths: FloatArray = (self.high - self.low) / np.float32(_LEVELS)
        return widths


def quantize(vectors: ArrayLike, precision: Precision, ranges: Ranges | None = None) -> NDArray[Any]:
    """Vectors in a precision.

    Args:
        vectors: Floats of shape (n, dim), or (dim,) for one vector; E5's have length 1.
        precision: "float32", "int8", "uint8", "binary" or "ubinary".
        ranges: The calibration of int8 and uint8: `Ranges.of(corpus)` or `Ranges.fixed(dim)`.

    Returns:
        Shape (n, dim); of binary ones (n, dim / 8), rounded up, the last byte filled up with zeros.

    Raises:
        VectorError: The vectors are no floats, the precision is unknown, or int8 has no ranges.
        FingerprintMismatchError: The ranges have other dimensions.
        NonFiniteError: A vector holds NaN or infinity.
    """
    _check_precision(precision)
    rows = _float_rows(vectors)
    if precision == "float32":
        return rows.astype(np.float32, copy=False)
    if precision in ("binary", "ubinary"):
        levels = np.packbits(rows > 0, axis=1)
    else:
        calibration = _checked_ranges(ranges, precision, rows.shape[1])
        steps = np.where(calibration.steps == 0, 1, calibration.steps)
        levels = np.clip(np.floor((rows - calibration.low) / steps), 0, _LEVELS).astype(np.uint8)
    return levels if precision.startswith("u") else (levels ^ 128).view(np.int8)


def dequantize(
    codes: ArrayLike, precision: Precision, *, embed_dim: int | None = None, ranges: Ranges | None = None
) -> FloatArray:
    """Float vectors that stand for quantised ones: the middle of each step; of binary ones 1 and -1.

    Args:
        codes: What `quantize` returned.
        precision: Their precision.
        embed_dim: Dimensions of binary vectors, if not eight for each byte.
        ranges: The calibration that int8 and uint8 ones were made with.

    Raises:
        VectorError: The codes are not of this precision, or int8 has no ranges.
        FingerprintMismatchError: The ranges or `embed_dim` are of other dimensions.
    """
    rows = _checked_codes(codes, precision)
    if precision == "float32":
        return rows.astype(np.float32, copy=False)
    levels = _unsigned(rows)
    if precision in ("binary", "ubinary"):
        embed_dim = levels.shape[1] * 8 if embed_dim is None else embed_dim
        _check_width(levels, embed_dim)
        bits = np.unpackbits(levels, axis=1, count=embed_dim)
        signs: FloatArray = bits.astype(np.float32) * 2 - 1
        return signs
    calibration = _checked_ranges(ranges, precision, levels.shape[1])
    middles: FloatArray = calibration.low + (levels + np.float32(0.5)) * calibration.steps
    return middles


def quantized_search(
    query_embeddings: ArrayLike,
    codes: ArrayLike,
    precision: Precision,
    *,
    ranges: Ranges | None = None,
    top_k: int = 10,
    n_rescored: int | None = None,
) -> TopK:
    """The `top_k` quantised vectors that are nearest to each query; the queries stay float.

    Of int8 and uint8 vectors every one is scored: the cosine of the query with the dequantised vector. Of binary ones
    the nearest by the Hamming distance from the query's signs are scored so, and ranked anew.

    Args:
        query_embeddings: Floats of shape (n_queries, dim), or (dim,) for one query.
        codes: The corpus, as `quantize` returned it.
        precision: Of the corpus.
        ranges: The calibration that int8 and uint8 ones were made with.
        top_k: Vectors per query; all if there are fewer.
        n_rescored: How many binary vectors are scored; `RESCORED` times `top_k` if None. If that is fewer than
            `top_k`, the others follow in the order of their distance, with the cosine of the signs minus 2.

    Returns:
        Scores and ids, each of shape (n_queries, min(top_k, n)); ties go to the lowest id.

    Raises:
        VectorError: As `dequantize`, or a number of vectors is below 1.
        FingerprintMismatchError: Queries, codes or ranges differ in dimensions.
        NonFiniteError: A query holds NaN or infinity.
    """
    queries = _float_rows(query_embeddings, "query_embeddings")
    corpus = _checked_codes(codes, precision)
    n_rescored = RESCORED * top_k if n_rescored is None else n_rescored
    if min(top_k, n_rescored) < 1:
        raise VectorError(f"top_k is {top_k} and n_rescored {n_rescored}; both must be at least 1.")
    if precision in ("binary", "ubinary"):
        _check_width(corpus, queries.shape[1])
        return _binary_search(queries, _unsigned(corpus), min(top_k, len(corpus)), min(n_rescored, len(corpus)))
    search = TopKSearch(queries, top_k=top_k)
    for part in _parts(corpus):
        search.add(dequantize(part, precision, ranges=ranges))
    return search.best


class QuantizedSearch:
    """`quantized_search` over float vectors that arrive block by block, and are quantised as they come.

    Args:
        query_embeddings: Floats of shape (n_queries, dim), or (dim,) for one query.
        precision: In which the corpus is searched.
        ranges: The calibration of int8 and uint8; that of the first block if None.
        top_k: Vectors per query; all if there are fewer.
        n_rescored: As in `quantized_search`.

    Attributes:
        n_seen: Vectors so far.
    """

    def __init__(
        self,
        query_embeddings: ArrayLike,
        precision: Precision,
        *,
        ranges: Ranges | None = None,
        top_k: int = 10,
        n_rescored: int | None = None,
    ) -> None:
        _check_precision(precision)
        self._queries = _float_rows(query_embeddings, "query_embeddings")
        self._precision = precision
        self._ranges = ranges
        self._top_k, self._n_rescored = top_k, n_rescored
        self._search = TopKSearch(self._queries, top_k=top_k)
        self._codes: list[NDArray[Any]] = []  # of binary vectors, which are few bytes
        self.n_seen = 0

    def add(self, corpus_embeddings: ArrayLike) -> None:
        """The next block, floats of shape (n, dim); ids count on through the blocks. Errors as `quantize`."""
        rows = as_rows(corpus_embeddings, "corpus_embeddings")
        self.n_seen += len(rows)
        if self._precision == "float32":
            self._search.add(rows)
            return
        if self._ranges is None and self._precision in ("int8", "uint8"):
            self._ranges = Ranges.of(rows)
        for part in _parts(rows):
            codes = quantize(part, self._precision, self._ranges)
            if self._precision in ("binary", "ubinary"):
                self._codes.append(codes)
            else:
                self._search.add(dequantize(codes, self._precision, ranges=self._ranges))

    @property
    def best(self) -> TopK:
        """The best of all blocks so far."""
        if not self._codes:
            return self._search.best
        codes = np.concatenate(self._codes)
        return quantized_search(self._queries, codes, self._precision, top_k=self._top_k, n_rescored=self._n_rescored)


def _binary_search(queries: FloatArray, levels: NDArray[np.uint8], top_k: int, n_rescored: int) -> TopK:
    embed_dim = queries.shape[1]
    words, signs = _as_words(levels), _as_words(np.packbits(queries > 0, axis=1))
    best = TopK(np.empty((len(queries), top_k), np.float32), np.empty((len(queries), top_k), np.int64))
    for row, query in enumerate(queries):
        distances = np.bitwise_count(words ^ signs[row]).sum(axis=1, dtype=np.uint16)
        nearest = np.argsort(distances, kind="stable")[: max(top_k, n_rescored)]
        ids, scores = _rescored(query, levels, nearest[:n_rescored])
        others = nearest[n_rescored:]
        best.ids[row] = np.concatenate([ids, others])[:top_k]
        best.scores[row] = np.concatenate([scores, -1 - 2 * distances[others] / np.float32(embed_dim)])[:top_k]
    return best


def _rescored(query: FloatArray, levels: NDArray[np.uint8], candidates: IdArray) -> tuple[IdArray, FloatArray]:
    """The candidates by their cosine with the query, ties by id."""
    ids = np.sort(candidates)
    cosines = cos_sim(query, dequantize(levels[ids], "ubinary", embed_dim=len(query)))[0]
    order = np.argsort(-cosines, kind="stable")
    return ids[order], cosines[order]


def _as_words(levels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Rows of bytes as rows of words of 64 bits, filled up with zeros."""
    n_words = -(-levels.shape[1] // _BYTES_OF_A_WORD)
    padded = np.zeros((len(levels), n_words * _BYTES_OF_A_WORD), np.uint8)
    padded[:, : levels.shape[1]] = levels
    return padded.view(np.uint64)


def _parts(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The rows, so many at a time that they take little memory in float32."""
    n_rows = max(1, _NUMBERS_AT_ONCE // max(1, rows.shape[1]))
    return (rows[start : start + n_rows] for start in range(0, len(rows), n_rows))


def _float_rows(vectors: ArrayLike, name: str = "vectors") -> FloatArray:
    rows = as_rows(vectors, name)
    if rows.dtype.kind != "f":
        raise VectorError(f"{name} are {rows.dtype}, and not floats: they are quantised already.")
    require_finite(rows, name)
    return rows


def _checked_codes(codes: ArrayLike, precision: Precision) -> NDArray[Any]:
    _check_precision(precision)
    rows = as_rows(codes, "codes")
    is_right = rows.dtype.kind == "f" if precision == "float32" else rows.dtype == _DTYPES[precision]
    if not is_right:
        raise VectorError(f"The codes are {rows.dtype}, and not {precision}. Give what `quantize` returned.")
    return rows


def _unsigned(codes: NDArray[Any]) -> NDArray[np.uint8]:
    """The codes from 0 up: of int8 and binary ones 128 more."""
    levels: NDArray[np.uint8] = codes.view(np.uint8)
    return levels if codes.dtype == np.uint8 else levels ^ np.uint8(128)


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise VectorError(f"precision={precision!r} is unknown. It is one of {', '.join(map(repr, PRECISIONS))}.")


def _checked_ranges(ranges: Ranges | None, precision: Precision, embed_dim: int) -> Ranges:
    if ranges is None:
        raise VectorError(f"{precision} vectors need ranges.", "Give Ranges.of(corpus) or Ranges.fixed(dimensions).")
    if len(ranges.low) != embed_dim:
        raise FingerprintMismatchError(
            f"The vectors have {embed_dim} dimensions and the ranges {len(ranges.low)}. They are of different models."
        )
    return ranges


def _check_width(levels: NDArray[Any], embed_dim: int) -> None:
    if levels.shape[1] != -(-embed_dim // 8):
        raise FingerprintMismatchError(
            f"Binary vectors of {embed_dim} dimensions have {-(-embed_dim // 8)} bytes, and these {levels.shape[1]}. "
            "They are of different models."
        )
