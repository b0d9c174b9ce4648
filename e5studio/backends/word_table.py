"""The embedding table of an encoder, looked up outside of the graph, in the file where it lies.

Of the multilingual models it is most of the weights, and a batch reads a few of its rows: as a file that is mapped
into memory, in the number format of the checkpoint, it costs neither time at the start nor memory of the process.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray
from e5studio.weights import StoredArray, as_float32


class WordTable:
    """Token ids to vectors.

    Args:
        rows: (vocabulary, ...) of any format that `as_float32` takes.
    """

    def __init__(self, rows: StoredArray) -> None:
        self._rows = rows
        self.n_bytes = rows.nbytes

    @classmethod
    def from_file(cls, path: Path) -> WordTable:
        """A table that `save` wrote, mapped into memory."""
        return cls(np.load(path, mmap_mode="r").view(np.ndarray))

    def save(self, path: Path) -> None:
        """Write the table as it is stored."""
        np.save(path, self._rows)

    def copy(self) -> WordTable:
        """The table in memory, whatever becomes of its file."""
        return WordTable(self._rows.copy())

    def look_up(self, ids: NDArray[np.int64]) -> FloatArray:
        """The vectors of (rows, longest) ids: (rows, longest, width) float32."""
        if self._rows.dtype == np.float32:
            return self._rows.take(ids, axis=0)
        different, positions = np.unique(ids, return_inverse=True)
        return as_float32(self._rows[different])[positions.reshape(ids.shape)]
