"""The vectors of a corpus while they come, so that work that was stopped goes on where it stopped.

They lie where they will be needed: one array in the order of the corpus, which the finished result shares. Knows no
encoder: whoever has one asks which rows are due and keeps what it computed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.cache import vector_key
from e5studio.studio.corpus.corpus import FloatArray

RowArray = NDArray[np.intp]

MAX_BYTES = 300_000_000
"""Room for 50,000 vectors of 1,024 dimensions, and for others beside those of most models."""

_KEY_BYTES = 200  # of a key and its place in a dict


@dataclass(frozen=True)
class TokenStats:
    """What the model read of some texts.

    Attributes:
        n_tokens: Tokens read of each, prompt and special tokens counted, (n,) int32.
        n_dropped: Tokens that were not, because the text is longer than the model reads, (n,) int32; of a very long
            text at least so many.
        unknown_share: Share of each text's tokens that the vocabulary lacks, (n,) float32 in 0..1.
    """

    n_tokens: IntArray
    n_dropped: IntArray
    unknown_share: FloatArray

    @classmethod
    def nothing(cls, n_texts: int) -> TokenStats:
        """Of texts that were not read yet."""
        return cls(np.zeros(n_texts, np.int32), np.zeros(n_texts, np.int32), np.zeros(n_texts, np.float32))

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All that is held."""
        return self.n_tokens, self.n_dropped, self.unknown_share

    def of(self, rows: RowArray) -> TokenStats:
        """What was read of some of them."""
        return TokenStats(self.n_tokens[rows], self.n_dropped[rows], self.unknown_share[rows])


class PartialVectors:
    """The vectors of one list of texts under one prompt of one encoder; a text that comes twice is due once.

    Args:
        keys: What stands for each text.
        embed_dim: Dimensions of the vectors.

    Attributes:
        vectors: Float32 (n, embed_dim); only rows that are done hold anything.
        read: What the model read of each text.
        twins: For each text the row of the first that equals it, (n,).
    """

    def __init__(self, keys: Sequence[bytes], embed_dim: int) -> None:
        first_rows = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
        self.vectors: FloatArray = np.empty((len(keys), embed_dim), np.float32)
        self.read = TokenStats.nothing(len(keys))
        self.twins: RowArray = np.fromiter((first_rows[key] for key in keys), np.intp, len(keys))
        self._row_of = first_rows
        self._is_done = np.zeros(len(keys), np.bool_)

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.twins)

    @property
    def n_bytes(self) -> int:
        """Of all that is held."""
        arrays = (self.vectors, *self.read.arrays, self.twins, self._is_done)
        return sum(array.nbytes for array in arrays) + _KEY_BYTES * len(self._row_of)

    def due(self) -> RowArray:
        """Rows whose vectors are not there yet, each different text once, ascending."""
        return np.flatnonzero(~self._is_done & (self.twins == np.arange(len(self))))

    def n_texts(self, rows: RowArray) -> int:
        """How many of the texts have one of these rows for their first."""
        return int(np.bincount(self.twins, minlength=len(self))[rows].sum())

    def keep(self, rows: RowArray, vectors: FloatArray, read: TokenStats) -> None:
        """Keep what was computed for some of the rows that were due."""
        self.vectors[rows] = vectors
        for array, values in zip(self.read.arrays, read.arrays, strict=True):
            array[rows] = values
        self._is_done[rows] = True  # last: whoever reads it in another thread finds the rest there

    def take_from(self, other: PartialVectors) -> None:
        """Take over the vectors of texts that another list holds as well."""
        pairs = [(row, other._row_of[key]) for key, row in self._row_of.items() if key in other._row_of]
        mine, theirs = np.array(pairs, np.intp).reshape(-1, 2).T
        is_there = other._is_done[theirs]
        mine, theirs = mine[is_there], theirs[is_there]
        self.keep(mine, other.vectors[theirs], other.read.of(theirs))

    def whole(self) -> FloatArray:
        """All vectors, read-only, without a copy, and every twin filled in; for when nothing is due any more."""
        if len(self.due()):
            raise ValueError("Some rows are still due.")
        again = np.flatnonzero(self.twins != np.arange(len(self)))
        for array in (self.vectors, *self.read.arrays):
            array[again] = array[self.twins[again]]
        vectors = self.vectors.view()
        vectors.flags.writeable = False
        return vectors

    def is_of(self, keys: Sequence[bytes]) -> bool:
        """Whether these are the keys of its texts, in its order."""
        return len(keys) == len(self) and all(
            self._row_of.get(key) == twin for key, twin in zip(keys, self.twins.tolist(), strict=True)
        )


class VectorStore:
    """The vectors embedded so far for one visitor: those of the present corpus, and of others while there is room.

    Args:
        max_bytes: Of all; the present corpus stays even if it alone takes more.
        on_use: Called after each use, with whether memory was taken.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, on_use: Callable[[bool], None] | None = None) -> None:
        self._max_bytes = max_bytes
        self._on_use = on_use or _nobody
        self._lock = threading.Lock()
        self._kept: list[tuple[tuple[str, str], PartialVectors]] = []  # by encoder and prompt, the latest last

    @property
    def n_bytes(self) -> int:
        """Of all that is kept."""
        return sum(rows.n_bytes for _, rows in tuple(self._kept))

    def holds(self, vectors: FloatArray) -> bool:
        """Whether an array's memory is counted here already."""
        return any(vectors is rows.vectors or vectors.base is rows.vectors for _, rows in tuple(self._kept))

    def rows(self, fingerprint: str, prompt: str, texts: Sequence[str], embed_dim: int) -> PartialVectors:
        """Where the vectors of these texts are kept; what is known of them is there already.

        Args:
            fingerprint: Of the encoder.
            prompt: What stands in front of every text.
            texts: The corpus.
            embed_dim: Dimensions of the vectors.
        """
        keys = [vector_key(fingerprint, prompt, text) for text in texts]
        kind = (fingerprint, prompt)
        with self._lock:
            of_kind = [rows for each, rows in self._kept if each == kind]
            found = next((rows for rows in of_kind if rows.is_of(keys)), None)
            if found is None:
                found = PartialVectors(keys, embed_dim)
                for rows in of_kind:
                    found.take_from(rows)
            self._kept = [(each, rows) for each, rows in self._kept if rows is not found] + [(kind, found)]
            while len(self._kept) > 1 and self.n_bytes > self._max_bytes:
                del self._kept[0]
        self._on_use(True)
        return found

    def clear(self) -> None:
        """Forget all vectors."""
        with self._lock:
            self._kept = []

    def note_use(self) -> None:
        """Say that work goes on, so that what it fills is not forgotten meanwhile."""
        self._on_use(False)


def _nobody(is_larger: bool) -> None:
    return None
