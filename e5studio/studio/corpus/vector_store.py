"""The vectors of a corpus while they are computed, so that a stopped run resumes.

They lie in one array in the order of the corpus, which the finished result shares. Knows no encoder: the caller asks
for the missing rows and stores what it computed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.cache import first_rows, vector_keys
from e5studio.encode_report import EncodeReport
from e5studio.similarity import FloatArray

RowArray = NDArray[np.intp]

MAX_BYTES = 300_000_000
"""Room for 50,000 vectors of 1,024 dimensions, or for several corpora of most models."""

_KEY_BYTES = 200  # of a key and its row in a dict


@dataclass(frozen=True)
class TokenStats:
    """What the model reads of each text.

    Attributes:
        n_tokens: Tokens read, with prompt and special tokens, (n,) int32.
        n_dropped: Tokens beyond the model's limit, (n,) int32; a lower bound for a very long text.
        unknown_share: Share of the tokens that the vocabulary lacks, (n,) float32 in 0..1.
    """

    n_tokens: IntArray
    n_dropped: IntArray
    unknown_share: FloatArray

    @classmethod
    def nothing(cls, n_texts: int) -> TokenStats:
        """All zero, for texts that were not read yet."""
        return cls(np.zeros(n_texts, np.int32), np.zeros(n_texts, np.int32), np.zeros(n_texts, np.float32))

    @classmethod
    def of_report(cls, report: EncodeReport) -> TokenStats:
        """Those of the texts of a report."""
        n_dropped = np.zeros(len(report.n_tokens), np.int32)
        for cut in report.truncated:
            n_dropped[cut.index] = cut.n_dropped
        return cls(report.n_tokens, n_dropped, report.unknown_share)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All fields."""
        return self.n_tokens, self.n_dropped, self.unknown_share

    def of(self, rows: RowArray) -> TokenStats:
        """The same for some of the texts."""
        return TokenStats(self.n_tokens[rows], self.n_dropped[rows], self.unknown_share[rows])


class PartialVectors:
    """The vectors of a list of texts under one prompt of one encoder; equal texts are computed once.

    Args:
        keys: The `vector_key` of each text.
        embed_dim: Dimensions of the vectors.

    Attributes:
        vectors: Float32 (n, embed_dim); only computed rows hold values.
        tokens: What the model reads of each text.
        first_equal_row: For each text the row of the first text equal to it, (n,).
    """

    def __init__(self, keys: Sequence[bytes], embed_dim: int) -> None:
        self._row_of = first_rows(keys)
        self.vectors: FloatArray = np.empty((len(keys), embed_dim), np.float32)
        self.tokens = TokenStats.nothing(len(keys))
        self.first_equal_row: RowArray = np.fromiter((self._row_of[key] for key in keys), np.intp, len(keys))
        self._is_done = np.zeros(len(keys), np.bool_)

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.first_equal_row)

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays and keys."""
        arrays = (self.vectors, *self.tokens.arrays, self.first_equal_row, self._is_done)
        return sum(array.nbytes for array in arrays) + _KEY_BYTES * len(self._row_of)

    def missing_rows(self) -> RowArray:
        """Rows without a vector, each different text once, ascending."""
        return np.flatnonzero(~self._is_done & (self.first_equal_row == np.arange(len(self))))

    def n_texts(self, rows: RowArray) -> int:
        """How many texts are equal to one of these rows."""
        return int(np.bincount(self.first_equal_row, minlength=len(self))[rows].sum())

    def add(self, rows: RowArray, vectors: FloatArray, tokens: TokenStats) -> None:
        """Store the vectors of some missing rows."""
        self.vectors[rows] = vectors
        for array, values in zip(self.tokens.arrays, tokens.arrays, strict=True):
            array[rows] = values
        self._is_done[rows] = True  # last, because other threads read it first

    def copy_from(self, other: PartialVectors) -> None:
        """Copy the vectors of texts that another list has, too."""
        pairs = [(row, other._row_of[key]) for key, row in self._row_of.items() if key in other._row_of]
        rows, other_rows = np.array(pairs, np.intp).reshape(-1, 2).T
        is_done = other._is_done[other_rows]
        rows, other_rows = rows[is_done], other_rows[is_done]
        self.add(rows, other.vectors[other_rows], other.tokens.of(other_rows))

    def complete(self) -> FloatArray:
        """All vectors, read-only and without a copy, once no row is missing."""
        if len(self.missing_rows()):
            raise ValueError("Some rows are still missing.")
        repeated = np.flatnonzero(self.first_equal_row != np.arange(len(self)))
        for array in (self.vectors, *self.tokens.arrays):
            array[repeated] = array[self.first_equal_row[repeated]]
        vectors = self.vectors.view()
        vectors.flags.writeable = False
        return vectors

    def has_keys(self, keys: Sequence[bytes]) -> bool:
        """Whether these are the keys of its texts, in its order."""
        return len(keys) == len(self) and all(
            self._row_of.get(key) == row for key, row in zip(keys, self.first_equal_row.tolist(), strict=True)
        )


class VectorStore:
    """The vectors of one visitor's present corpus, and of earlier ones while there is room.

    Args:
        max_bytes: Of all; the present corpus stays even if it alone takes more.
        on_use: Called after each use, with whether memory was taken.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, on_use: Callable[[bool], None] = lambda is_larger: None) -> None:
        self._max_bytes = max_bytes
        self._on_use = on_use
        self._lock = threading.Lock()
        self._lists: list[tuple[tuple[str, str], PartialVectors]] = []  # by encoder and prompt, the latest last

    @property
    def n_bytes(self) -> int:
        """Bytes of all lists."""
        return sum(vectors.n_bytes for _, vectors in tuple(self._lists))

    def holds(self, vectors: FloatArray) -> bool:
        """Whether `n_bytes` counts the memory of an array."""
        return any(vectors is each.vectors or vectors.base is each.vectors for _, each in tuple(self._lists))

    def open(self, fingerprint: str, prompt: str, texts: Sequence[str], embed_dim: int) -> PartialVectors:
        """The vectors of these texts, with those that are known filled in.

        Args:
            fingerprint: Of the encoder.
            prompt: In front of every text.
            texts: All of them.
            embed_dim: Dimensions of the vectors.
        """
        keys, kind = vector_keys(fingerprint, prompt, texts), (fingerprint, prompt)
        with self._lock:
            same_kind = [each for kind_of_each, each in self._lists if kind_of_each == kind]
            vectors = next((each for each in same_kind if each.has_keys(keys)), None)
            if vectors is None:
                vectors = PartialVectors(keys, embed_dim)
                for each in same_kind:
                    vectors.copy_from(each)
            self._lists = [entry for entry in self._lists if entry[1] is not vectors] + [(kind, vectors)]
            while len(self._lists) > 1 and self.n_bytes > self._max_bytes:
                del self._lists[0]
        self._on_use(True)
        return vectors

    def clear(self) -> None:
        """Drop all vectors."""
        with self._lock:
            self._lists = []

    def note_use(self) -> None:
        """Keep the store from expiring while a run fills it."""
        self._on_use(False)
