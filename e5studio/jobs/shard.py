"""One shard of a job: its rows are read, embedded, written and recorded. What is written depends on the plan alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError
from e5studio.files.arrow import import_pyarrow
from e5studio.jobs.corpus_reader import Block, CorpusReader
from e5studio.jobs.embedding import EmbeddedRows, RowEmbedder, one_ahead
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import Plan, ShardPrecision
from e5studio.jobs.records import Reject, ShardRecord
from e5studio.quantization import Ranges, quantize
from e5studio.similarity import FloatArray
from e5studio.tokenization import replace_surrogates

METADATA_KEY = b"e5studio_job"
OWN_COLUMNS = ("row", "vector")
CHUNK_COLUMNS = ("chunk", "start", "end")

OnBlock = Callable[[float, EmbeddedRows | None], None]
"""Called with the rows of the shard that are done, and after each block with what became of it."""

_Write = Callable[[Block, EmbeddedRows], None]


def reserved_columns(plan_long: str) -> set[str]:
    """The names of columns that the output has as its own."""
    return {*OWN_COLUMNS, *(CHUNK_COLUMNS if plan_long == "chunk" else ())}


def run_shard(
    plan: Plan,
    shard: int,
    embedder: RowEmbedder,
    reader: CorpusReader,
    folder: JobFolder,
    on_block: OnBlock = lambda n_rows, block: None,
) -> ShardRecord:
    """Make one shard.

    Args:
        plan: The job.
        shard: Which of its shards.
        embedder: The plan's encoder, prompt and way with long texts.
        reader: Reads the plan's corpus.
        folder: Where the shard is stored.
        on_block: Is told of the progress.

    Raises:
        OutputError: Another worker writes this shard.
        FileFormatError: A file of texts is not what it was.
        OSError: A file of texts is gone, or the disk is full.
    """
    started = time.perf_counter()
    own = plan.rows_of(shard)
    rejects: list[Reject] = []
    n_vectors = n_tokens = 0
    with folder.writing(plan, shard) as file:
        hashed = _HashedFile(file)
        with _writing(plan, reader, hashed) as write:
            blocks = ((block, embedder.prepare(block.rows)) for block in reader.blocks(own.start, own.stop))
            for block, prepared in one_ahead(blocks):  # read and tokenised beside the device
                done, n_rows = block.first - own.start, len(block.rows)

                def on_share(share: float, done: int = done, n_rows: int = n_rows) -> None:
                    on_block(done + share * n_rows, None)

                embedded = embedder.embed(prepared, on_share)
                write(block, embedded)
                rejects += _rejects_of(block, embedded)
                n_vectors += len(embedded.vectors)
                n_tokens += embedded.n_tokens
                on_block(done + n_rows, embedded)
        reader.check_unchanged(own.start, own.stop)
    return folder.commit(
        plan,
        ShardRecord(
            plan=plan.digest,
            shard=shard,
            size=hashed.size,
            rows=len(own) - len(rejects),
            vectors=n_vectors,
            rejected=dict(Counter(reject.status for reject in rejects)),
            tokens=n_tokens,
            sha256=hashed.digest.hexdigest(),
            rejects_sha256=None,
            seconds=round(time.perf_counter() - started, 3),
        ),
        rejects,
    )


def stored(vectors: FloatArray, precision: ShardPrecision) -> NDArray[Any]:
    """Vectors of length 1 as a shard holds them; int8 has the same range in every job, so that jobs can be compared."""
    if precision == "float16":
        return vectors.astype(np.float16)
    return quantize(vectors, precision, Ranges.fixed(vectors.shape[1]))


class _HashedFile:
    """Hashes what is written, so that it need not be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, content: Any) -> int:
        self.digest.update(content)
        n_bytes = self._file.write(content)
        self.size += n_bytes
        return n_bytes

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Stay open: whoever opened the file closes it."""


@contextmanager
def _writing(plan: Plan, reader: CorpusReader, file: Any) -> Iterator[_Write]:
    if plan.layout == "parts":
        with _writing_part(plan, file) as write:
            yield write
    else:
        with _writing_parquet(plan, reader, file) as write:
            yield write


@contextmanager
def _writing_part(plan: Plan, file: Any) -> Iterator[_Write]:
    """An array with a row for each row of the corpus, NaN where there is no vector."""
    blocks: list[FloatArray] = []

    def write(block: Block, embedded: EmbeddedRows) -> None:
        rows = np.full((len(block.rows), plan.encoder.embed_dim), np.nan, "<f4")
        rows[embedded.parents] = embedded.vectors
        blocks.append(rows)

    yield write
    np.lib.format.write_array(file, np.concatenate(blocks), version=(1, 0))


@contextmanager
def _writing_parquet(plan: Plan, reader: CorpusReader, file: Any) -> Iterator[_Write]:
    arrow, parquet = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    schema = _schema(plan, reader.schema)
    with parquet.ParquetWriter(file, schema, **parquet_options(schema.names)) as writer:

        def write(block: Block, embedded: EmbeddedRows) -> None:
            if len(embedded.vectors):
                writer.write_table(arrow.table(_columns(plan, block, embedded, schema), schema=schema))

        yield write


def parquet_options(names: Sequence[str]) -> dict[str, Any]:
    """How a shard with these columns is written; vectors are noise to zstd."""
    others = [name for name in names if name != "vector"]
    return {
        "compression": {**dict.fromkeys(others, "zstd"), "vector.list.element": "none"},
        "use_dictionary": False,
        "write_statistics": others,
        "write_page_checksum": True,
    }


def _schema(plan: Plan, columns: Any) -> Any:
    arrow = import_pyarrow()
    example = stored(np.ones((1, plan.encoder.embed_dim), np.float32), plan.precision)
    element = arrow.from_numpy_dtype(example.dtype)
    chunk_fields = [(name, arrow.int32()) for name in CHUNK_COLUMNS] if plan.long == "chunk" else []
    described = {
        "fingerprint": plan.encoder.fingerprint,
        "encoder": asdict(plan.encoder),
        "prompt": asdict(plan.prompt),
        "precision": plan.precision,
        "long": plan.long,
    }
    return arrow.schema(
        [
            ("row", arrow.int64()),
            *chunk_fields,
            *(columns if columns is not None else ()),
            ("vector", arrow.list_(element, example.shape[1])),
        ],
        metadata={METADATA_KEY: json.dumps(described, sort_keys=True)},
    )


def _columns(plan: Plan, block: Block, embedded: EmbeddedRows, schema: Any) -> list[Any]:
    arrow = import_pyarrow()
    parents, vectors = embedded.parents, stored(embedded.vectors, plan.precision)
    own = {
        "row": arrow.array(block.first + parents),
        "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1]),
    }
    if plan.long == "chunk":
        starts_of_rows = np.flatnonzero(np.r_[True, parents[1:] != parents[:-1]])
        chunks = np.arange(len(parents)) - np.repeat(starts_of_rows, np.diff(np.r_[starts_of_rows, len(parents)]))
        own |= {"chunk": arrow.array(chunks.astype(np.int32))}
        own |= {"start": arrow.array(embedded.spans[:, 0]), "end": arrow.array(embedded.spans[:, 1])}
        if plan.corpus.column in schema.names:
            texts = [replace_surrogates(block.rows[row].text or "") for row in parents]
            parts = [text[start:end] for text, (start, end) in zip(texts, embedded.spans.tolist(), strict=True)]
            own[plan.corpus.column] = arrow.array(parts, schema.field(plan.corpus.column).type)
    if block.columns is not None:
        taken = _taken(block.columns, arrow.array(parents))
        own = {**dict(zip(taken.column_names, taken.columns, strict=True)), **own}
    return [own[name] for name in schema.names]


def _taken(columns: Any, rows: Any) -> Any:
    """Rows of a table.

    Raises:
        FileFormatError: Arrow cannot copy a column of this type.
    """
    arrow = import_pyarrow()
    taken = []
    for field, column in zip(columns.schema, columns.columns, strict=True):
        try:
            taken.append(column.take(rows))
        except arrow.ArrowNotImplementedError:
            raise FileFormatError(
                f"Column {field.name!r} is {field.type}, which Arrow cannot copy. Choose other columns with --keep."
            ) from None
    return arrow.table(taken, schema=columns.schema)


def _rejects_of(block: Block, embedded: EmbeddedRows) -> Iterator[Reject]:
    for index, status in enumerate(embedded.statuses):
        if status != "ok":
            row = block.rows[index]
            yield Reject(block.first + index, block.files[index], row.line, status, embedded.reasons[index])
