"""The vectors of a folder of shards, read in place and some rows at a time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e5studio.files.parquet import batch_cells, parquet_columns
from e5studio.files.records import Record, Records, parquet_record
from e5studio.files.vector_manifest import VectorManifest
from e5studio.files.vectors import check_made_by
from e5studio.jobs.corpus_reader import BLOCK_ROWS
from e5studio.jobs.folder import JobFolder, open_job
from e5studio.jobs.merge import check_there, manifest_of, vectors_of
from e5studio.jobs.plan import Plan
from e5studio.quantization import Ranges, dequantize
from e5studio.similarity import FloatArray, IdArray
from e5studio.spec import EncoderSpec


class ShardVectors:
    """A finished job. Positions count the vectors of all shards, which are more than rows where texts became several.

    Args:
        path: The folder.

    Attributes:
        records: Of all shards.

    Raises:
        FileFormatError: There is no job, or a shard is missing or cut. A damaged one is known when it is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder, self.plan = open_job(path)
        self.records = check_there(self.plan, self._folder)
        self._first_positions = list(itertools.accumulate((record.vectors for record in self.records), initial=0))

    @property
    def n_vectors(self) -> int:
        """Vectors of all shards."""
        return self._first_positions[-1]

    @property
    def manifest(self) -> VectorManifest:
        """How the vectors were made."""
        return manifest_of(self.plan)

    @property
    def digest(self) -> str:
        """What changes when a shard does."""
        digests = " ".join(record.sha256 for record in self.records)
        return hashlib.sha256(f"{self.plan.digest} {digests}".encode()).hexdigest()[:16]

    def check_made_by(self, spec: EncoderSpec) -> None:
        """Refuse a comparison with the vectors of another encoder (FingerprintMismatchError)."""
        check_made_by(self.path, self.plan.encoder, spec)

    def blocks(self) -> Iterator[FloatArray]:
        """The vectors in the order of their positions as float32; of fewer bits those that stand for them."""
        for shard in range(self.plan.n_shards):
            for batch in _batches(self._folder, self.plan, shard, ["vector"]):
                yield _as_floats(self.plan, vectors_of(batch))

    def columns(self, names: list[str]) -> dict[str, list[Any]]:
        """Whole columns of all shards."""
        cells: dict[str, list[Any]] = {name: [] for name in names}
        for shard in range(self.plan.n_shards):
            for batch in _batches(self._folder, self.plan, shard, names):
                for name in names:
                    cells[name] += batch.column(name).to_pylist()
        return cells

    def vectors_at(self, positions: IdArray) -> FloatArray:
        """The vectors at some positions in ascending order, as `blocks` gives them."""
        parts = [
            _as_floats(self.plan, vectors_of(batch)[rows]) for batch, rows in self._batches_with(positions, ["vector"])
        ]
        return np.concatenate(parts)

    def rows(self, positions: Sequence[int]) -> list[tuple[int, str | None]]:
        """The row of the texts and the text at some positions; None where the texts were not kept."""
        column = self.plan.corpus.column
        names = ["row", *([column] if column in self.plan.corpus.fields else [])]
        wanted = np.unique(np.array(positions, np.int64))
        cells: list[tuple[int, str | None]] = []
        for batch, rows in self._batches_with(wanted, names):
            numbers = batch.column("row").take(rows).to_pylist()
            texts = batch.column(column).take(rows).to_pylist() if len(names) > 1 else [None] * len(rows)
            cells += zip(numbers, texts, strict=True)
        at = dict(zip(wanted.tolist(), cells, strict=True))
        return [at[position] for position in positions]

    def records_at(self, positions: IdArray) -> Records:
        """The columns beside the vectors at some positions in ascending order.

        The line of each is its row of the texts; its position where texts became several vectors, which have columns
        `row`, `chunk`, `start` and `end`.
        """
        columns = parquet_columns(self._folder.shard_path(self.plan, 0))
        own = {"vector"} if self.plan.long == "chunk" else {"vector", "row"}
        kinds, unfit = (
            {name: kind for name, kind in each.items() if name not in own} for each in (columns.kinds, columns.unfit)
        )
        return Records(tuple(kinds), self._records(positions, kinds), unfit)

    def _records(self, positions: IdArray, kinds: dict[str, str]) -> Generator[Record]:
        names, numbers = list(dict.fromkeys(["row", *kinds])), iter(positions.tolist())
        for batch, rows in self._batches_with(positions, names):
            taken = batch.take(rows)
            lines = numbers if self.plan.long == "chunk" else taken.column("row").to_pylist()
            # The lines come last: `zip` asks for the next one only where there is a row.
            for *cells, line in zip(*batch_cells(taken, kinds), lines, strict=False):
                yield parquet_record(line, cells, kinds)

    def _batches_with(self, positions: IdArray, columns: list[str]) -> Iterator[tuple[Any, IdArray]]:
        """The groups of rows that hold some ascending positions, and which of their rows; no others are read."""
        for shard, (start, stop) in enumerate(itertools.pairwise(self._first_positions)):
            own = positions[(start <= positions) & (positions < stop)] - start
            if not len(own):
                continue
            with self._folder.reading(self.plan, shard) as file:
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                for group, (first, end) in enumerate(itertools.pairwise(itertools.accumulate(sizes, initial=0))):
                    rows = own[(first <= own) & (own < end)] - first
                    if len(rows):
                        [batch] = file.read_row_group(group, columns=columns).combine_chunks().to_batches()
                        yield batch, rows


def _batches(folder: JobFolder, plan: Plan, shard: int, columns: list[str]) -> Iterator[Any]:
    with folder.reading(plan, shard) as file:
        yield from file.iter_batches(batch_size=BLOCK_ROWS, columns=columns)


def _as_floats(plan: Plan, vectors: Any) -> FloatArray:
    if plan.precision == "float16":
        return np.asarray(vectors, np.float32)
    embed_dim = plan.encoder.embed_dim
    return dequantize(vectors, plan.precision, embed_dim=embed_dim, ranges=Ranges.fixed(embed_dim))
