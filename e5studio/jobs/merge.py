"""Joins the shards of a job into one file, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from e5studio.errors import FileFormatError, OutputError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.atomic import atomic_files
from e5studio.files.npy_vectors import open_npy
from e5studio.files.vector_block import RowStatus, VectorBlock
from e5studio.files.vector_manifest import VectorManifest
from e5studio.files.vectors import write_vectors
from e5studio.jobs.corpus_reader import BLOCK_ROWS, CorpusReader
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import Plan
from e5studio.jobs.records import ShardRecord
from e5studio.jobs.shard import parquet_options
from e5studio.similarity import FloatArray


def check_whole(plan: Plan, folder: JobFolder) -> list[ShardRecord]:
    """The records of all shards.

    Raises:
        FileFormatError: A shard is missing or damaged.
    """
    return _all_of(plan, folder, folder.whole)


def check_there(plan: Plan, folder: JobFolder) -> list[ShardRecord]:
    """The records of all shards, whose digests are not compared; pages of Parquet have their own.

    Raises:
        FileFormatError: A shard is missing or cut.
    """
    return _all_of(plan, folder, folder.record)


def _all_of(plan: Plan, folder: JobFolder, record_of: Callable[[Plan, int], ShardRecord | None]) -> list[ShardRecord]:
    records = [record_of(plan, shard) for shard in range(plan.n_shards)]
    missing = [shard for shard, record in enumerate(records) if record is None]
    if missing:
        raise FileFormatError(
            f"{len(missing):,} of the {plan.n_shards:,} shards of {folder.path} are missing or damaged, first "
            f"{plan.name_of(missing[0])}. Give the command again that made them."
        )
    return [record for record in records if record is not None]


def manifest_of(plan: Plan) -> VectorManifest:
    """What a single file says of the encoder."""
    return VectorManifest(plan.encoder, plan.prompt.text, plan.prompt.name, plan.prompt.instruction, plan.corpus.name)


def join_parts(plan: Plan, folder: JobFolder, write: Callable[[VectorBlock], None]) -> None:
    """Write the parts of a single file, with their texts, in the order of the rows."""
    reader = CorpusReader(plan.corpus)
    for shard in range(plan.n_shards):
        own = plan.rows_of(shard)
        statuses = _statuses(plan, folder, shard)
        vectors = open_npy(folder.shard_path(plan, shard))
        for block in reader.blocks(own.start, own.stop):
            first, n_rows = block.first - own.start, len(block.rows)
            write(
                VectorBlock(
                    [row.text for row in block.rows], statuses[first : first + n_rows], vectors[first : first + n_rows]
                )
            )
    reader.check_unchanged()


def merge_shards(plan: Plan, folder: JobFolder, output: Path, *, overwrite: bool = False) -> int:
    """Write the shards of a folder as one .parquet, or as an .npy with a row for each row of the corpus.

    Returns:
        Number of rows written.

    Raises:
        FileFormatError: A shard is missing, or the vectors do not go into such a file.
        OutputError: The file exists.
    """
    if folder.path.resolve() in output.resolve().parents:
        raise OutputError(f"{output} is in the folder of the job, whose shards it would be among.", "Choose another.")
    check_whole(plan, folder)
    if output.suffix.lower() == ".npy":
        if plan.precision != "float32" or plan.long == "chunk":
            raise FileFormatError(
                "An .npy file has one float32 vector for each row of the texts, and these are "
                f"{'chunks' if plan.long == 'chunk' else plan.precision}. Merge into a .parquet file."
            )
        with write_vectors(output, manifest_of(plan), plan.corpus.n_rows, overwrite=overwrite) as write:
            for shard in range(plan.n_shards):
                for block in _aligned(plan, folder, shard):
                    write(block)
        return plan.corpus.n_rows
    if output.suffix.lower() != ".parquet":
        raise FileFormatError(f"{output} ends in {output.suffix!r}. Shards are merged into a .parquet or .npy file.")
    return _merge_parquet(plan, folder, output, overwrite)


def _merge_parquet(plan: Plan, folder: JobFolder, output: Path, overwrite: bool) -> int:
    parquet = import_pyarrow("pyarrow.parquet")
    n_rows = 0
    with atomic_files(output, overwrite=overwrite) as (file,):
        with folder.reading(plan, 0) as first:
            schema = first.schema_arrow
        with parquet.ParquetWriter(file, schema, **parquet_options(schema.names)) as writer:
            for shard in range(plan.n_shards):
                for batch in _batches(plan, folder, shard):
                    writer.write_batch(batch)
                    n_rows += batch.num_rows
    return n_rows


def _batches(plan: Plan, folder: JobFolder, shard: int) -> Iterator[Any]:
    """A shard some rows at a time; what goes wrong while they are written is not said of the shard."""
    with folder.reading(plan, shard) as source:
        yield from source.iter_batches(batch_size=BLOCK_ROWS)


def _aligned(plan: Plan, folder: JobFolder, shard: int) -> Iterator[VectorBlock]:
    """The vectors of a shard with a place for each of its rows."""
    own = plan.rows_of(shard)
    vectors = np.full((len(own), plan.encoder.embed_dim), np.nan, np.float32)
    with folder.reading(plan, shard) as file:
        for batch in file.iter_batches(columns=["row", "vector"]):
            vectors[batch.column("row").to_numpy() - own.start] = vectors_of(batch)
    statuses = _statuses(plan, folder, shard)
    yield VectorBlock([None] * len(own), statuses, vectors)


def vectors_of(batch: Any) -> FloatArray:
    """The vectors of a batch of a shard, (rows, numbers), in the type in which they are stored."""
    column = batch.column("vector")
    array: FloatArray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return array


def _statuses(plan: Plan, folder: JobFolder, shard: int) -> list[RowStatus]:
    own = plan.rows_of(shard)
    statuses: list[RowStatus] = ["ok"] * len(own)
    for reject in folder.rejects(plan, shard):
        statuses[reject.row - own.start] = reject.status
    return statuses
