"""Files of texts and of vectors.

`records` streams the rows of plain lines, CSV, JSONL and Parquet, `texts` one column of them; `vectors`
writes and reads vectors together with the identity of their encoder, `foreign_vectors` those of other programs.
"""

from __future__ import annotations

from e5studio.files.atomic import refuse_existing
from e5studio.files.npy_vectors import sidecar_path
from e5studio.files.texts import Row, RowProblem, TextFile, open_texts
from e5studio.files.vector_block import RowStatus, VectorBlock
from e5studio.files.vector_manifest import VectorManifest
from e5studio.files.vectors import VectorFile, check_vector_ending, files_of, read_vectors, write_vectors

__all__ = [
    "Row",
    "RowProblem",
    "RowStatus",
    "TextFile",
    "VectorBlock",
    "VectorFile",
    "VectorManifest",
    "check_vector_ending",
    "files_of",
    "open_texts",
    "read_vectors",
    "refuse_existing",
    "sidecar_path",
    "write_vectors",
]
