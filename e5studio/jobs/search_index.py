"""Search over the vectors of a large job: one contiguous file beside the shards, written once and mapped.

It holds int8 of every vector, or the bits of binary ones. A pass over it finds candidates, which are scored anew by the
numbers that the shards hold: results have the scores of a search over these.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.backends.int8_products import Int8Products
from e5studio.files.atomic import atomic_files
from e5studio.files.npy_vectors import open_npy
from e5studio.files.remote import RemotePath
from e5studio.jobs.folder import INDEX
from e5studio.jobs.vectors import ShardVectors
from e5studio.quantization import Precision, Ranges, dequantize, quantize
from e5studio.similarity import FloatArray, IdArray, TopK, cos_sim

LEAST_VECTORS = 100_000
"""Of fewer the shards are read as fast."""

CANDIDATES = 4
"""Times the results, so many are scored anew."""

_ROWS_AT_ONCE = 1 << 16
_LEVELS = 127


class SearchIndex:
    """The index of a finished job, which is made if it is not there.

    Args:
        shards: The job.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, shards: ShardVectors) -> None:
        self._shards = shards
        self._is_binary = shards.plan.precision in ("binary", "ubinary")
        self._precision: Precision = "ubinary" if self._is_binary else "int8"
        self.path = shards.path / INDEX / f"{shards.digest}.npy"
        if not self.path.exists():
            self._write()

    def search(self, queries: FloatArray, top_k: int) -> TopK:
        """The vectors nearest to each query, float32 (n_queries, dim); scores are those of the shards' vectors."""
        n_candidates = min(CANDIDATES * top_k, self._shards.n_vectors)
        best = _Candidates(len(queries), n_candidates)
        score = _signs_alike(queries) if self._is_binary else Int8Products(_as_int8(queries)).of
        for first, block in self._blocks():
            best.add(first, score(block))
        return self._rescored(queries, best.ids, min(top_k, n_candidates))

    def _rescored(self, queries: FloatArray, candidates: list[IdArray], top_k: int) -> TopK:
        positions = np.unique(np.concatenate(candidates))
        vectors = self._vectors_at(positions)
        result = TopK(np.empty((len(queries), top_k), np.float32), np.empty((len(queries), top_k), np.int64))
        for row, (query, own) in enumerate(zip(queries, candidates, strict=True)):
            ids = np.sort(own)
            cosines = cos_sim(query, vectors[np.searchsorted(positions, ids)])[0]
            order = np.argsort(-cosines, kind="stable")[:top_k]
            result.ids[row], result.scores[row] = ids[order], cosines[order]
        return result

    def _vectors_at(self, positions: IdArray) -> FloatArray:
        """What the shards hold at some ascending positions; where that is no float, it is in the index."""
        plan = self._shards.plan
        if plan.precision in ("float32", "float16"):
            return self._shards.vectors_at(positions)
        codes = open_npy(self.path)[positions]
        embed_dim = plan.encoder.embed_dim
        return dequantize(codes, self._precision, embed_dim=embed_dim, ranges=Ranges.fixed(embed_dim))

    def _blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """The codes some rows at a time; the memory of those that were passed is given back."""
        header = open_npy(self.path)
        (n_rows, width), offset, dtype = header.shape, header.offset, header.dtype  # type: ignore[attr-defined]
        # A private mapping may be written, which torch asks of an array; nobody does. It ends with its last array.
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        codes = np.frombuffer(mapped, dtype, offset=offset).reshape(n_rows, width)
        for first in range(0, n_rows, _ROWS_AT_ONCE):
            yield first, codes[first : first + _ROWS_AT_ONCE]
            if hasattr(mapped, "madvise"):
                end = offset + min(first + _ROWS_AT_ONCE, n_rows) * width
                start = (offset + first * width) // mmap.PAGESIZE * mmap.PAGESIZE
                mapped.madvise(mmap.MADV_DONTNEED, start, end - start)

    def _write(self) -> None:
        for older in self.path.parent.glob("*.npy"):
            older.unlink(missing_ok=True)
        self.path.parent.mkdir(exist_ok=True)
        embed_dim = self._shards.plan.encoder.embed_dim
        dtype, width = ("|u1", -(-embed_dim // 8)) if self._is_binary else ("|i1", embed_dim)
        with atomic_files(self.path, overwrite=True) as (file,):
            header = {"descr": dtype, "fortran_order": False, "shape": (self._shards.n_vectors, width)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in self._shards.blocks():
                file.write(np.ascontiguousarray(quantize(block, self._precision, Ranges.fixed(embed_dim))).data)


def index_of(shards: ShardVectors) -> SearchIndex | None:
    """The index of a job that is large enough and can have one."""
    if shards.n_vectors < LEAST_VECTORS or isinstance(shards.path, RemotePath):
        return None
    try:
        return SearchIndex(shards)
    except OSError:  # a folder that only others may write; the shards can be read all the same
        return None


class _Candidates:
    """The best of all blocks so far, for each query."""

    def __init__(self, n_queries: int, n_best: int) -> None:
        self._n_best = n_best
        self._scores: list[NDArray[Any]] = [np.zeros(0, np.int64) for _ in range(n_queries)]
        self.ids: list[IdArray] = [np.zeros(0, np.int64) for _ in range(n_queries)]

    def add(self, first: int, scores: NDArray[Any]) -> None:
        """The scores of the next block, (n_queries, n)."""
        for query, of_query in enumerate(scores):
            is_full = len(self.ids[query]) == self._n_best
            better = np.flatnonzero(of_query > self._scores[query].min()) if is_full else np.arange(len(of_query))
            joined = np.concatenate([self._scores[query], of_query[better]])
            ids = np.concatenate([self.ids[query], first + better])
            if len(ids) > self._n_best:
                best = np.argpartition(-joined, self._n_best - 1)[: self._n_best]
                joined, ids = joined[best], ids[best]
            self._scores[query], self.ids[query] = joined, ids


def _as_int8(queries: FloatArray) -> NDArray[np.int8]:
    scales = np.abs(queries).max(axis=1, keepdims=True)
    codes: NDArray[np.int8] = np.rint(queries / np.where(scales == 0, 1, scales) * _LEVELS).astype(np.int8)
    return codes


def _signs_alike(queries: FloatArray) -> Any:
    """A function of the number of bits that rows share with each query, but for a constant."""
    bits = np.packbits(queries > 0, axis=1)

    def score(block: NDArray[np.uint8]) -> NDArray[np.int64]:
        width = block.shape[1]
        dtype = np.uint64 if width % 8 == 0 else np.uint8
        rows, own = np.ascontiguousarray(block).view(dtype), np.ascontiguousarray(bits).view(dtype)
        return np.stack([-np.bitwise_count(rows ^ each).sum(axis=1, dtype=np.int64) for each in own])

    return score
