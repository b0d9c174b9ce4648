"""Vectors that another program may have written: checked for their shape before they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError
from e5studio.files import npy_vectors, parquet_vectors
from e5studio.files.delimited import refuse_repeated
from e5studio.files.parquet import open_parquet, parquet_cells, text_columns
from e5studio.files.parquet_vectors import METADATA_KEY, is_vector_type, read_column
from e5studio.files.vector_manifest import VectorManifest, from_json


@dataclass(frozen=True)
class ForeignVectors:
    """Vectors of any origin.

    Attributes:
        vectors: (rows, embed_dim), of any real type; NaN in rows without a vector.
        manifest: How they were made, if the file says so.
        texts: The column "text", if there is one.
        titles: The column "title", if there is one.
    """

    vectors: NDArray[Any]
    manifest: VectorManifest | None
    texts: list[str | None] | None
    titles: list[str | None] | None


def read_foreign_vectors(
    path: Path, ending: str, *, n_rows: int, embed_dim: int, manifest: Path | None = None, max_chars: int | None = None
) -> ForeignVectors:
    """Read vectors that another program may have written; checks the shape before reading.

    Args:
        path: The file.
        ending: What to read it as: one of VECTOR_ENDINGS.
        n_rows: Expected number of vectors.
        embed_dim: Expected dimensions.
        manifest: The file that `write_vectors` writes beside an .npy, if there is one.
        max_chars: Most characters of all texts, and of all titles; a small Parquet file may repeat a huge text.

    Raises:
        FileFormatError: It is damaged or another kind of file, or has another shape or more text.
    """
    if ending == ".parquet":
        return _read_foreign_parquet(path, n_rows, embed_dim, max_chars)
    vectors = npy_vectors.open_npy(path)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise FileFormatError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}. Vectors are real numbers, a row for each text."
        )
    _check_shape(path, vectors.shape, (n_rows, embed_dim))
    made_by = None if manifest is None else _maker_of(path, vectors, manifest)
    return ForeignVectors(np.array(vectors), made_by, None, None)


def _maker_of(path: Path, vectors: NDArray[Any], sidecar: Path) -> VectorManifest:
    """What the file beside an array says, where it belongs to it."""
    manifest, digests = from_json(sidecar, sidecar.read_bytes())
    npy_vectors.check_digest(path, vectors, sidecar, digests)
    return manifest


def _check_shape(path: Path, shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    if shape[0] != expected[0]:
        raise FileFormatError(
            f"{path} has {shape[0]:,} vectors, and there are {expected[0]:,} texts. Each text needs one, in the same "
            "order."
        )
    if shape[1] != expected[1]:
        raise FileFormatError(
            f"The vectors of {path} have {shape[1]:,} dimensions, those of this model {expected[1]:,}. "
            "Take the model that made them."
        )


def _read_foreign_parquet(path: Path, n_rows: int, embed_dim: int, max_chars: int | None) -> ForeignVectors:
    with open_parquet(path) as file:
        schema = file.schema_arrow
        content = (schema.metadata or {}).get(METADATA_KEY)
        name = _vector_column(path, schema)
        _check_shape(path, (file.metadata.num_rows, embed_dim), (n_rows, embed_dim))

        def check(widths: NDArray[np.integer[Any]]) -> None:
            if len(widths) > 1:
                raise FileFormatError(
                    f"{path}: the vectors of column {name!r} differ in length; they have from {widths[0]:,} to "
                    f"{widths[-1]:,} dimensions. All need {embed_dim:,}. Embed the texts anew."
                )
            _check_shape(path, (n_rows, int(widths[0])), (n_rows, embed_dim))

        vectors = read_column(file, name, (n_rows, embed_dim), check)
        texts, titles = (_text_column(path, schema, name, n_rows, max_chars) for name in ("text", "title"))
    if content is None:
        return ForeignVectors(vectors, None, texts, titles)
    manifest, digests = from_json(path, content)
    parquet_vectors.check_digest(path, vectors, digests)
    return ForeignVectors(vectors, manifest, texts, titles)


def _text_column(path: Path, schema: Any, name: str, n_rows: int, max_chars: int | None) -> list[str | None] | None:
    """The cells of a column; None if there is no column of text of this name."""
    if not text_columns(path).get(name, False):
        return None
    refuse_repeated(path, (each for each in schema.names if each == name), ". Rename one.")
    cells: list[str | None] = []
    n_chars = 0
    for [block] in parquet_cells(path, {name: "text"}):
        cells += block
        n_chars += sum(len(cell) for cell in block if cell)
        if max_chars is not None and n_chars > max_chars:
            raise FileFormatError(
                f"{path} has more than {max_chars:,} characters in column {name!r}, which is more than the corpus "
                "has. Take the file that was made from these texts."
            )
    if len(cells) != n_rows:
        raise FileFormatError(f"{path} has {len(cells):,} cells in column {name!r}, not {n_rows:,}. Save it anew.")
    return cells


def _vector_column(path: Path, schema: Any) -> str:
    """The column "vector", or the only column of lists of numbers."""
    candidates = [field.name for field in schema if is_vector_type(field.type)]
    if "vector" in candidates:
        return "vector"
    if len(candidates) == 1:
        return str(candidates[0])
    listed = ", ".join(map(repr, candidates or schema.names))
    if candidates:
        raise FileFormatError(f"{path} has several columns of vectors: {listed}. Name the one that counts 'vector'.")
    raise FileFormatError(f"{path} has no column of vectors (lists of numbers). Its columns: {listed}.")
