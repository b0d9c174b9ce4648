"""Vectors in a Parquet file, with their texts; the manifest is in the file's metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.parquet import open_parquet
from e5studio.files.vector_block import VectorBlock, check_row_count
from e5studio.files.vector_manifest import (
    ContentDigests,
    VectorManifest,
    add_texts,
    as_stored,
    from_json,
    to_json,
)
from e5studio.similarity import FloatArray
from e5studio.tokenization import replace_surrogates

METADATA_KEY = b"e5studio"
_ROWS_AT_ONCE = 1024

CheckWidths = Callable[[NDArray[np.integer[Any]]], None]


@contextmanager
def write_parquet(
    file: BinaryIO, manifest: VectorManifest, n_rows: int, more: Mapping[str, type[str] | type[int]]
) -> Iterator[Callable[[VectorBlock], None]]:
    """Write a Parquet file; arguments as `write_vectors` takes them."""
    arrow, parquet = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    embed_dim = manifest.spec.embed_dim
    schema = arrow.schema(
        [
            ("row", arrow.int64()),
            ("text", arrow.string()),
            ("status", arrow.string()),
            # Not a list of fixed size: Arrow before version 26 can neither write nor read one with nulls.
            ("vector", arrow.list_(arrow.float32())),
            *((name, arrow.int64() if kind is int else arrow.string()) for name, kind in more.items()),
        ]
    )
    vectors_digest, texts_digest = hashlib.sha256(), hashlib.sha256()
    written = 0
    # Arrow's own copy of the schema would hide from its readers what is added to the metadata at the end.
    options = {"store_schema": False, "compression": "zstd", "use_dictionary": ["status"], "write_page_checksum": True}
    with parquet.ParquetWriter(file, schema, **options) as writer:

        def write(block: VectorBlock) -> None:
            nonlocal written
            rows = block.rows(embed_dim)
            texts = [text and replace_surrogates(text) for text in block.texts]
            missing = block.missing
            ends = np.cumsum(np.where(missing, 0, embed_dim), dtype=np.int32)
            starts_and_end = arrow.array(np.concatenate([np.zeros(1, np.int32), ends]))
            present = arrow.array(rows[~missing].ravel())
            columns = [
                arrow.array(np.arange(written, written + len(missing))),
                arrow.array(texts, arrow.string()),
                arrow.array(block.statuses, arrow.string()),
                arrow.ListArray.from_arrays(starts_and_end, present, mask=arrow.array(missing)),
                *(arrow.array([_storable(cell) for cell in block.more[name]]) for name in more),
            ]
            writer.write_batch(arrow.record_batch(columns, schema=schema))
            vectors_digest.update(rows.data)
            add_texts(texts_digest, texts)
            written += len(missing)

        yield write
        check_row_count(written, n_rows)
        digests = ContentDigests(vectors_digest.hexdigest(), texts_digest.hexdigest())
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(to_json(manifest, digests))})


def read_parquet(path: Path) -> tuple[VectorManifest, ContentDigests, FloatArray]:
    """The manifest and the vectors; `read_texts` reads the texts.

    Raises:
        FileFormatError: It is damaged, of another origin, or was changed after it was written.
    """
    with open_parquet(path) as file:
        content = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
        vector_types = [field.type for field in file.schema_arrow if field.name == "vector"]
        if content is None or not (len(vector_types) == 1 and is_vector_type(vector_types[0])):
            raise FileFormatError(
                f"{path} does not say which model made its vectors. Only files that `e5studio encode` wrote "
                "are searched."
            )
        manifest, digests = from_json(path, content)
        embed_dim = manifest.spec.embed_dim

        def check(widths: NDArray[np.integer[Any]]) -> None:
            if (widths != embed_dim).any():
                raise FileFormatError(
                    f"{path} holds vectors that do not have {embed_dim} dimensions each, so it was "
                    "changed after it was written. Encode the texts again."
                )

        vectors = read_column(file, "vector", (file.metadata.num_rows, embed_dim), check)
    check_digest(path, vectors, digests)
    return manifest, digests, vectors


def check_digest(path: Path, vectors: FloatArray, digests: ContentDigests) -> None:
    """Refuse vectors that are not those the manifest was written with.

    Raises:
        FileFormatError: They are others, fewer, more, or in another order.
    """
    if hashlib.sha256(as_stored(vectors).data).hexdigest() != digests.vectors:
        raise FileFormatError(
            f"{path} does not hold the vectors that were written: some were changed, added, left out or moved, or the "
            "file is damaged. Take the file as it was, or encode the texts again."
        )


def read_texts(path: Path, rows: Sequence[int], digests: ContentDigests) -> list[str | None]:
    """The texts of some rows; None where the file has lost its column of texts.

    Raises:
        FileFormatError: They are not the texts that the vectors were made of.
    """
    with open_parquet(path) as file:
        if "text" not in file.schema_arrow.names:
            return [None] * len(rows)
        column = file.read(columns=["text"]).column(0)
        if _texts_digest(column) != digests.texts:
            raise FileFormatError(
                f"{path} does not hold the texts that its vectors were made of: column 'text' was changed after it was "
                "written. Take the file as it was, or encode the texts again."
            )
        return [column[row].as_py() for row in rows]


def is_vector_type(data_type: Any) -> bool:
    """Whether a column of this type may hold vectors: lists of numbers with a fraction."""
    types = import_pyarrow("pyarrow.types")
    is_list = types.is_list(data_type) or types.is_large_list(data_type) or types.is_fixed_size_list(data_type)
    return bool(is_list and types.is_floating(data_type.value_type))


def read_column(file: Any, name: str, shape: tuple[int, int], check: CheckWidths) -> FloatArray:
    """The vectors of a column, NaN in rows without one; `check` may refuse the widths of some of them."""
    compute = import_pyarrow("pyarrow.compute")
    vectors = np.full(shape, np.nan, np.float32)
    start = 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[name]):
        column = batch.column(0)
        present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        if len(present):
            column_of_present = column.drop_null()
            # Each, not their sum: a short one before a long one would shift numbers from vector to vector.
            check(np.unique(compute.list_value_length(column_of_present).to_numpy(zero_copy_only=False)))
            values = column_of_present.flatten().to_numpy(zero_copy_only=False)
            vectors[start + present] = values.reshape(-1, shape[1])
        start += len(column)
    return vectors


def _texts_digest(column: Any) -> str | None:
    """The digest of a column; None where it holds something else than texts."""
    digest = hashlib.sha256()
    for start in range(0, len(column), _ROWS_AT_ONCE):
        texts = column.slice(start, _ROWS_AT_ONCE).to_pylist()
        if not all(text is None or isinstance(text, str) for text in texts):
            return None
        add_texts(digest, texts)
    return digest.hexdigest()


def _storable(cell: str | int) -> str | int:
    return replace_surrogates(cell) if isinstance(cell, str) else cell
