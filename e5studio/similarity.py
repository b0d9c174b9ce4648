"""Cosine similarity and exact nearest-vector search over plain numpy arrays.

Vectors need not be normalised: rows of unit length are used as they are, any others are
scaled block by block, and a zero vector is similar to nothing (0.0, never NaN). Not here:
approximate indexes, and anything that needs a model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import FingerprintMismatchError, NonFiniteError, VectorError

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]
RealArray = NDArray[Any]  # of any real dtype

# A block of scores (16 MiB) stays in the last-level cache between the product and the maximum.
_BLOCK_ROWS = 4096
_BLOCK_QUERIES = 1024
_GROUP_ROWS = 16
_MAX_CANDIDATES = 1 << 20

# More than a float32 product errs by: within one of them, equal vectors differ by up to 6e-7.
_ROUNDING = np.float32(1e-6)
_SPARE = 8

ignoring_underflow = np.errstate(under="ignore")
"""A decorator: a product that is as good as zero is no error, also where a program has `np.seterr(all="raise")`."""


class Hit(NamedTuple):
    """One hit of a search.

    Attributes:
        corpus_id: Its row in the corpus.
        score: Its cosine with the query, -1 to 1.
    """

    corpus_id: int
    score: float


class TopK(NamedTuple):
    """The best vectors of each query, best first.

    Attributes:
        scores: Cosines, float32, shape (n_queries, k).
        ids: Rows of the corpus, int64, shape (n_queries, k).
    """

    scores: FloatArray
    ids: IdArray


@ignoring_underflow
def cos_sim(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Cosine of every row of `a` with every row of `b`, the same numbers that the search gives.

    Args:
        a: Vectors, shape (n, dim), or one vector (dim,), which counts as n = 1.
        b: Vectors, shape (m, dim) or (dim,).

    Returns:
        float32, shape (n, m), -1 to 1.

    Raises:
        VectorError: `a` or `b` is not an array of real vectors.
        FingerprintMismatchError: They differ in dimensions.
        NonFiniteError: A vector holds NaN or infinity.
    """
    left, right = _as_pair(a, b, "a", "b")
    require_finite(left, "a")
    require_finite(right, "b")
    return _score_all(left, right)


@ignoring_underflow
def pairwise_cos_sim(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Cosine of each row of `a` with the same row of `b`, float32 (n,); equal pairs have equal cosines.

    Raises:
        VectorError: `a` or `b` is not an array of real vectors, or they differ in length.
        FingerprintMismatchError, NonFiniteError: As `cos_sim`.
    """
    left, right = _as_pair(a, b, "a", "b")
    if len(left) != len(right):
        raise VectorError(f"a has {len(left)} rows and b has {len(right)}; each row needs its partner.")
    require_finite(left, "a")
    require_finite(right, "b")
    return _score_pairs(left, right, np.arange(len(left))[:, None])[:, 0]


@ignoring_underflow
def scores(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Cosine x 100 of every row of `a` with every row of `b`, as the model cards print it.

    Never rescaled: with a model that puts unrelated texts near 70, they score near 70.
    Shapes and errors as for `cos_sim`.
    """
    return cos_sim(a, b) * np.float32(100)


def semantic_search(query_embeddings: ArrayLike, corpus_embeddings: ArrayLike, *, top_k: int = 10) -> list[list[Hit]]:
    """The `top_k` corpus vectors of highest cosine for each query, best first.

    Returns the results of `top_k_search` as lists of `Hit`; see there for what exact means.
    """
    best = top_k_search(query_embeddings, corpus_embeddings, top_k=top_k)
    rows = zip(best.ids.tolist(), best.scores.tolist(), strict=True)
    return [list(map(Hit, row_ids, row_scores)) for row_ids, row_scores in rows]


@ignoring_underflow
def top_k_search(query_embeddings: ArrayLike, corpus_embeddings: ArrayLike, *, top_k: int = 10) -> TopK:
    """The `top_k` corpus vectors of highest cosine for each query, as arrays.

    Exact: every pair is scored, and the best are scored again in float64, so that equal vectors
    have equal scores; ties go to the lowest id. One limit: where more than 8 further vectors
    lie within 1e-5 of the k-th score, they count as equal to it, and the lowest ids stay.

    The corpus is read in blocks, so it may be a memory map, and of any real dtype. Memory beside
    arguments and result: at most about 100 MB, whatever their sizes (top_k <= 1000).

    Args:
        query_embeddings: Shape (n_queries, dim), or (dim,) for one query.
        corpus_embeddings: Shape (n, dim).
        top_k: Vectors per query; all n if there are fewer.

    Returns:
        Scores and ids, each of shape (n_queries, min(top_k, n)).

    Raises:
        VectorError: An argument is not an array of real vectors, or top_k is below 1.
        FingerprintMismatchError: They differ in dimensions.
        NonFiniteError: A vector holds NaN or infinity; `indices` are its rows in that array.
    """
    queries, corpus = _as_pair(query_embeddings, corpus_embeddings, "query_embeddings", "corpus_embeddings")
    if top_k < 1:
        raise VectorError(f"top_k is {top_k}; it must be at least 1.")
    count, size = min(top_k, len(corpus)), min(top_k + _SPARE, len(corpus))
    best = TopK(np.empty((len(queries), count), np.float32), np.empty((len(queries), count), np.int64))
    if not count:
        return best
    per_query = size + min(size * _GROUP_ROWS, _BLOCK_ROWS)
    step = max(1, min(_BLOCK_QUERIES, _MAX_CANDIDATES // per_query))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        ids = _shortlist(unit_rows(queries[part], "query_embeddings", start), corpus, size)
        complete = size == len(corpus)
        cosines = _score_all(queries[part], corpus) if complete else _score_pairs(queries[part], corpus, ids)
        # Ids ascend, so a stable order gives ties to the lowest.
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        best.scores[part] = np.take_along_axis(cosines, order, axis=1)
        best.ids[part] = np.take_along_axis(ids, order, axis=1)
    return best


class TopKSearch:
    """`top_k_search` over a corpus that arrives block by block and is never whole in memory.

    Args:
        query_embeddings: Shape (n_queries, dim), or (dim,) for one query.
        top_k: Vectors per query; all if there are fewer.

    Attributes:
        best: The best so far.
        n_seen: Vectors searched so far.
    """

    def __init__(self, query_embeddings: ArrayLike, *, top_k: int = 10) -> None:
        self._queries = as_rows(query_embeddings, "query_embeddings")
        self._top_k = top_k
        self.n_seen = 0
        shape = (len(self._queries), 0)
        self.best = TopK(np.empty(shape, np.float32), np.empty(shape, np.int64))

    def add(self, corpus_embeddings: ArrayLike) -> None:
        """Search the next block, (n, dim); ids count on through the blocks. Errors as `top_k_search`."""
        rows = as_rows(corpus_embeddings, "corpus_embeddings")
        fresh = top_k_search(self._queries, rows, top_k=self._top_k)
        scores = np.concatenate([self.best.scores, fresh.scores], axis=1)
        ids = np.concatenate([self.best.ids, fresh.ids + self.n_seen], axis=1)
        # Of equal scores those of earlier blocks have the lower ids, and a stable sort leaves them in front.
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._top_k]
        self.best = TopK(np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1))
        self.n_seen += len(rows)


@ignoring_underflow
def unit_rows(rows: RealArray, name: str = "embeddings", first: int = 0) -> FloatArray:
    """The rows as float32 of unit length; zero rows stay zero.

    Args:
        rows: Shape (n, dim); returned unchanged if they are float32 of unit length already.
        name: Their name in an error message.
        first: Number of the first row in an error message.

    Raises:
        NonFiniteError: A row holds NaN or infinity.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        block: FloatArray = np.ascontiguousarray(rows, np.float32)
        squares = np.einsum("ij,ij->i", block, block)
    if np.all(np.abs(squares - 1) <= _ROUNDING):
        return block
    odd = np.flatnonzero(~((squares > 1e-20) & (squares < 1e20)))
    require_finite(rows[odd], name, first + odd)
    squares[odd] = 1
    block = block / np.sqrt(squares)[:, None]
    block[odd] = _unit_rows_float64(rows[odd])
    return block


def _unit_rows_float64(rows: RealArray) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", wide, wide)
    odd = np.flatnonzero(~((squares > 1e-200) & (squares < 1e200)))
    if len(odd):
        # Squares of numbers near 1 neither overflow nor vanish.
        largest = np.abs(wide[odd]).max(axis=1, initial=0)
        wide[odd] /= np.where(largest > 0, largest, 1)[:, None]
        squares[odd] = np.maximum(np.einsum("ij,ij->i", wide[odd], wide[odd]), largest == 0)
    wide /= np.sqrt(squares)[:, None]
    return wide


def _shortlist(queries: FloatArray, corpus: RealArray, size: int) -> IdArray:
    """Ids of the `size` best vectors of each query by the float32 product, ascending, shape (n_queries, size).

    Sorting the result of the product costs more than the product. So the scores of a block are reduced
    to maxima of small groups of rows, and only groups whose maximum beats the worst vector of a query's
    list are searched: a handful in a million rows, and never more than `size` groups of a block.
    """
    best = np.full((len(queries), size), -np.inf, np.float32)
    ids = np.zeros((len(queries), size), np.int64)
    step = max(_GROUP_ROWS, min(_BLOCK_ROWS, _round_up(_BLOCK_ROWS * 1024 // max(1, corpus.shape[1]))))
    buffer = np.empty((min(step, _round_up(len(corpus))), len(queries)), np.float32)
    for start in range(0, len(corpus), step):
        rows = unit_rows(corpus[start : start + step], "corpus_embeddings", start)
        block = buffer[: _round_up(len(rows))]
        np.matmul(rows, queries.T, out=block[: len(rows)])
        block[len(rows) :] = -np.inf
        _update(best, ids, block.reshape(-1, _GROUP_ROWS, len(queries)), start)
    return ids


def _update(best: FloatArray, ids: IdArray, groups: FloatArray, first_id: int) -> None:
    """Merge a block's scores, (n_groups, rows of a group, n_queries), into the lists, (n_queries, size), in place."""
    size = best.shape[1]
    maxima = groups.max(axis=1)
    # A later vector must be clearly better: within rounding of the worst it is a tie, and the lower id wins.
    worth = np.ascontiguousarray((maxima > best.min(axis=1) + _ROUNDING).T)
    crowded = np.flatnonzero(np.count_nonzero(worth, axis=1) > size)
    if len(crowded):
        # Enough even for ties: the groups of highest maximum hold the best vectors, and groups are in order of ids.
        worth[crowded] &= _largest(np.ascontiguousarray(maxima.T[crowded]), size)
    changed = np.flatnonzero(worth.any(axis=1))
    if not len(changed):
        return
    new_best, new_ids = _gather(worth[changed], groups, changed)
    all_best = np.concatenate([best[changed], new_best], axis=1)
    all_ids = np.concatenate([ids[changed], first_id + new_ids], axis=1)
    chosen = _largest(all_best, size)
    best[changed] = all_best[chosen].reshape(-1, size)
    ids[changed] = all_ids[chosen].reshape(-1, size)


def _gather(worth: NDArray[np.bool_], groups: FloatArray, queries: NDArray[np.intp]) -> tuple[FloatArray, IdArray]:
    """Scores and row numbers of the groups marked for each query, padded with -inf to the longest."""
    row, group = np.nonzero(worth)
    counts = np.count_nonzero(worth, axis=1)
    column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    height = groups.shape[1]
    gathered = np.full((len(queries), counts.max(), height), -np.inf, np.float32)
    gathered[row, column] = groups[group, :, queries[row]]
    starts = np.zeros(gathered.shape[:2], np.int64)
    starts[row, column] = group * height
    numbers = starts[:, :, None] + np.arange(height)
    return gathered.reshape(len(queries), -1), numbers.reshape(len(queries), -1)


def _largest(values: FloatArray, count: int) -> NDArray[np.bool_]:
    """Mark the `count` largest of each row; of those within rounding of the smallest, the leftmost."""
    position = values.shape[1] - count
    cut = np.partition(values, position, axis=1)[:, position, None]
    above = values > cut + _ROUNDING
    level = (values >= cut - _ROUNDING) & ~above
    room = count - np.count_nonzero(above, axis=1, keepdims=True)
    level &= np.cumsum(level, axis=1) <= room
    return above | level


def _score_pairs(queries: RealArray, corpus: RealArray, ids: IdArray) -> FloatArray:
    """Cosine of each query with each of its ids, computed in float64, shape of `ids`.

    The rounding of a float32 product depends on the position in the matrix; here equal vectors get equal scores.
    """
    cosines = np.empty(ids.shape, np.float32)
    wide = _unit_rows_float64(queries)
    step = _rows_at_once(queries.shape[1])
    for start in range(0, ids.size, step):
        pairs = np.arange(start, min(start + step, ids.size))
        vectors = _unit_rows_float64(corpus[ids.ravel()[pairs]])
        cosines.ravel()[pairs] = _round_noise(np.einsum("ij,ij->i", wide[pairs // ids.shape[1]], vectors))
    return cosines


def _score_all(a: RealArray, b: RealArray) -> FloatArray:
    """Cosine of every row of `a` with every row of `b`, to the same digits as `_score_pairs`."""
    cosines = np.empty((len(a), len(b)), np.float32)
    step = _rows_at_once(a.shape[1])
    for top in range(0, len(a) if len(b) else 0, _BLOCK_QUERIES):
        rows = slice(top, top + _BLOCK_QUERIES)
        wide = _unit_rows_float64(a[rows])
        for left in range(0, len(b), step):
            columns = slice(left, left + step)
            cosines[rows, columns] = _round_noise(wide @ _unit_rows_float64(b[columns]).T)
    return cosines


def _round_noise(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    # Nine decimals are finer than float32 near 1 and coarser than float64's noise, also near 0; -0.0 becomes 0.0.
    return np.clip(np.round(cosines, 9), -1, 1) + 0.0


def _as_pair(a: ArrayLike, b: ArrayLike, name_a: str, name_b: str) -> tuple[RealArray, RealArray]:
    left, right = as_rows(a, name_a), as_rows(b, name_b)
    if len(left) and len(right) and left.shape[1] != right.shape[1]:
        raise FingerprintMismatchError(
            f"{name_a} has {left.shape[1]} dimensions and {name_b} has {right.shape[1]}. "
            "They come from different models or settings: embed both with the same encoder."
        )
    return left, right


def as_rows(vectors: ArrayLike, name: str = "embeddings") -> RealArray:
    """The vectors as an array of shape (n, dim), without a copy if they are an array already.

    Raises:
        VectorError: They are not real numbers of shape (n, dim) or (dim,).
    """
    try:
        array = np.asarray(vectors)
    except ValueError as error:
        raise VectorError(f"{name} is not an array, because its rows differ in length. Give shape (n, dim).") from error
    if array.ndim == 1:
        array = array[None, :] if array.size else array.reshape(0, 0)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise VectorError(
            f"{name} has shape {array.shape} and dtype {array.dtype}. "
            "Give real numbers of shape (n, dim), or (dim,) for one vector."
        )
    return array


def require_finite(rows: RealArray, name: str = "embeddings", numbers: NDArray[np.intp] | None = None) -> None:
    """Refuse NaN and infinity.

    Args:
        rows: Shape (n, dim).
        name: Their name in the error message.
        numbers: The number of each row in the error message; None: its index.

    Raises:
        NonFiniteError: A row is not finite; `indices` are the numbers of these rows.
    """
    bad_rows = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if not len(bad_rows):
        return
    bad = (bad_rows if numbers is None else numbers[bad_rows]).tolist()
    listed = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
    raise NonFiniteError(
        f"{name} holds NaN or infinity in row {listed} ({len(bad)} in all). "
        "Such a vector is similar to nothing: embed these texts again, or leave the rows out.",
        bad,
    )


def _rows_at_once(dimensions: int) -> int:
    return max(1, min(_BLOCK_ROWS, (1 << 20) // max(1, dimensions)))


def _round_up(rows: int) -> int:
    return -(-rows // _GROUP_ROWS) * _GROUP_ROWS
