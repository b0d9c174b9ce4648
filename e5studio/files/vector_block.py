"""Rows of vectors on their way into a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError
from e5studio.similarity import FloatArray

RowStatus = Literal["ok", "empty", "missing", "bad_type", "bad_row", "failed"]
"""Why a row has a vector ("ok") or none; "failed" is a text whose vector was not finite."""


@dataclass(frozen=True)
class VectorBlock:
    """Some rows to write.

    Attributes:
        texts: The texts, None where there is none.
        statuses: What became of each row.
        vectors: (rows, embed_dim) float32; rows whose status is not "ok" are ignored.
        more: Cells of the further columns of a Parquet file.
    """

    texts: Sequence[str | None]
    statuses: Sequence[RowStatus]
    vectors: FloatArray
    more: Mapping[str, Sequence[str] | Sequence[int]] = field(default_factory=dict)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no vector."""
        return np.array([status != "ok" for status in self.statuses], np.bool_)

    def rows(self, embed_dim: int) -> FloatArray:
        """A copy of the vectors as files store and hash them: little-endian, NaN in rows without one."""
        rows = np.array(self.vectors, "<f4", order="C").reshape(-1, embed_dim)
        rows[self.missing] = np.nan
        return rows


def check_row_count(written: int, expected: int) -> None:
    """Refuse to end a file with another number of rows than announced.

    Raises:
        FileFormatError: There are more, or fewer.
    """
    if written != expected:
        raise FileFormatError(
            f"Expected {expected:,} rows and got {written:,}: the file of texts changed while it was read. "
            "Run it again."
        )
