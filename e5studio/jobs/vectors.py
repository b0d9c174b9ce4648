"""The vectors of a folder of shards, read in place and some rows at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e5studio.files.vector_manifest import VectorManifest
from e5studio.files.vectors import check_made_by
from e5studio.jobs.corpus_reader import BLOCK_ROWS
from e5studio.jobs.folder import JobFolder, open_job
from e5studio.jobs.merge import check_whole, manifest_of, vectors_of
from e5studio.jobs.plan import Plan
from e5studio.quantization import Ranges, dequantize
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec


class ShardVectors:
    """A finished job. Positions count the vectors of all shards, which are more than rows where texts became several.

    Args:
        path: The folder.

    Raises:
        FileFormatError: There is no job, or a shard is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder, self.plan = open_job(path)
        records = check_whole(self.plan, self._folder)
        self._first_positions = list(itertools.accumulate((record.vectors for record in records), initial=0))

    @property
    def manifest(self) -> VectorManifest:
        """How the vectors were made."""
        return manifest_of(self.plan)

    def check_made_by(self, spec: EncoderSpec) -> None:
        """Refuse a comparison with the vectors of another encoder (FingerprintMismatchError)."""
        check_made_by(self.path, self.plan.encoder, spec)

    def blocks(self) -> Iterator[FloatArray]:
        """The vectors in the order of their positions as float32; of fewer bits those that stand for them."""
        for shard in range(self.plan.n_shards):
            for batch in _batches(self._folder, self.plan, shard, ["vector"]):
                yield _as_floats(self.plan, vectors_of(batch))

    def rows(self, positions: Sequence[int]) -> list[tuple[int, str | None]]:
        """The row of the texts and the text at some positions; None where the texts were not kept."""
        column = self.plan.corpus.column
        names = ["row", *([column] if column in self.plan.corpus.fields else [])]
        cells: dict[int, tuple[int, str | None]] = {}
        wanted = np.unique(np.array(positions, np.int64))
        for shard, (start, stop) in enumerate(itertools.pairwise(self._first_positions)):
            mine = wanted[(start <= wanted) & (wanted < stop)]
            if not len(mine):
                continue
            for batch in _batches(self._folder, self.plan, shard, names):
                for position in mine[(start <= mine) & (mine < start + batch.num_rows)].tolist():
                    text = batch.column(column)[position - start].as_py() if len(names) > 1 else None
                    cells[position] = (batch.column("row")[position - start].as_py(), text)
                start += batch.num_rows
        return [cells[position] for position in positions]


def _batches(folder: JobFolder, plan: Plan, shard: int, columns: list[str]) -> Iterator[Any]:
    with folder.reading(plan, shard) as file:
        yield from file.iter_batches(batch_size=BLOCK_ROWS, columns=columns)


def _as_floats(plan: Plan, vectors: Any) -> FloatArray:
    if plan.precision == "float16":
        return np.asarray(vectors, np.float32)
    embed_dim = plan.encoder.embed_dim
    return dequantize(vectors, plan.precision, embed_dim=embed_dim, ranges=Ranges.fixed(embed_dim))
