"""Files of texts and of vectors: what the command line reads and writes.

`texts` streams rows out of lines, CSV, JSONL and Parquet; `vectors` writes and reads the
results with the encoder's identity inside. Nothing here embeds anything.
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
