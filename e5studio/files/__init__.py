"""Files of texts and of vectors.

`records` streams the rows of plain lines, CSV, JSONL and Parquet, `texts` one column of them; `vectors`
writes and reads vectors together with the identity of their encoder.
"""

from __future__ import annotations

from e5studio.files.texts import Row, RowProblem, TextFile, open_texts
from e5studio.files.vectors import (
    RowStatus,
    VectorBlock,
    VectorFile,
    VectorManifest,
    check_vector_ending,
    read_vectors,
    sidecar_path,
    write_vectors,
)

__all__ = [
    "Row",
    "RowProblem",
    "RowStatus",
    "TextFile",
    "VectorBlock",
    "VectorFile",
    "VectorManifest",
    "check_vector_ending",
    "open_texts",
    "read_vectors",
    "sidecar_path",
    "write_vectors",
]
