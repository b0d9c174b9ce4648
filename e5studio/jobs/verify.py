"""Checks a job: that every row is there once, that nothing was changed, and that the encoder still says the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.encoder import E5Encoder
from e5studio.errors import FileFormatError
from e5studio.files.npy_vectors import open_npy
from e5studio.jobs.corpus_reader import CorpusReader
from e5studio.jobs.embedding import RowEmbedder
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.merge import vectors_of
from e5studio.jobs.plan import Plan
from e5studio.jobs.records import ShardRecord
from e5studio.jobs.shard import stored

SAMPLE = 20
_FLOATS = {"float32": 1e-5, "float16": 2e-3}
"""Precisions whose vectors have length 1, and by how much it may be off."""
_LEAST_AGREEMENT = {"float32": 0.9999, "float16": 0.999, "int8": 0.99, "uint8": 0.99, "binary": 0.97, "ubinary": 0.97}
"""Of a vector and the one that is computed anew: their cosine, or of binary ones the share of equal bits."""


@dataclass
class Verdict:
    """What was found.

    Attributes:
        n_shards: Shards that were read.
        n_rows: Rows with a vector in them.
        n_rejected: Rows without one.
        n_sampled: Rows that were embedded again.
        least_agreement: The worst of these with what is stored; None where none was.
        problems: What is wrong, in sentences.
    """

    n_shards: int = 0
    n_rows: int = 0
    n_rejected: int = 0
    n_sampled: int = 0
    least_agreement: float | None = None
    problems: list[str] = field(default_factory=list)


def verify_shards(plan: Plan, folder: JobFolder) -> Verdict:
    """Read all shards, and check digests, rows and lengths of vectors."""
    verdict = Verdict()
    for shard in range(plan.n_shards):
        name = plan.name_of(shard)
        record = folder.whole(plan, shard)
        if record is None:
            is_there = folder.shard_path(plan, shard).exists()
            verdict.problems.append(f"{name} was changed or damaged." if is_there else f"{name} is missing.")
            continue
        verdict.n_shards += 1
        verdict.n_rows += record.rows
        verdict.n_rejected += record.n_rejected
        try:
            verdict.problems += [f"{name}: {problem}" for problem in _problems(plan, folder, record)]
        except FileFormatError as error:
            verdict.problems.append(str(error))
    return verdict


def verify_sample(plan: Plan, folder: JobFolder, encoder: E5Encoder, verdict: Verdict, n_rows: int = SAMPLE) -> None:
    """Embed some rows again and compare them with what is stored.

    Args:
        plan: The job.
        folder: Where it is stored.
        encoder: The plan's.
        verdict: Takes the result.
        n_rows: How many rows, always the same ones.

    Raises:
        FileFormatError: A file of texts is not what it was.
        OSError: A file of texts is gone.
    """
    whole = [shard for shard in range(plan.n_shards) if folder.whole(plan, shard) is not None]
    chance = random.Random(plan.corpus.n_rows)
    shards = sorted(chance.choices(whole, k=n_rows)) if whole else []
    wanted = {
        shard: sorted({chance.choice(plan.rows_of(shard)) for _ in range(shards.count(shard))}) for shard in shards
    }
    reader = CorpusReader(plan.corpus)
    reader.check_unchanged()
    embedder = RowEmbedder(encoder, plan.prompt, plan.long)
    for shard, rows in wanted.items():
        there = stored_rows(plan, folder, shard, rows)
        for row in rows:
            [block] = reader.blocks(row, row + 1)
            vectors = stored(embedder.embed(embedder.prepare(block.rows)).vectors, plan.precision)
            verdict.n_sampled += 1
            if len(vectors) != len(there[row]):
                verdict.problems.append(f"Row {row:,} has {len(there[row])} vectors, and {len(vectors)} made again.")
            elif len(vectors):
                agreement = float(_agreement(vectors, there[row], plan).min())
                verdict.least_agreement = min(agreement, verdict.least_agreement or 1.0)
                if agreement < _LEAST_AGREEMENT[plan.precision]:
                    verdict.problems.append(f"Row {row:,} made again agrees by {agreement:.4f} only.")


def stored_rows(plan: Plan, folder: JobFolder, shard: int, rows: list[int]) -> dict[int, NDArray[Any]]:
    """The vectors of some rows of a shard, as stored; (0, numbers) for a row without one."""
    if plan.layout == "parts":
        part = open_npy(folder.shard_path(plan, shard))
        first = plan.rows_of(shard).start
        return {row: (vector := part[row - first][None])[~np.isnan(vector[:, 0])] for row in rows}
    parts: dict[int, list[NDArray[Any]]] = {row: [] for row in rows}
    for numbers, vectors in _batches(folder, plan, shard):
        for row in rows:
            parts[row].append(vectors[numbers == row])
    width = stored(np.ones((1, plan.encoder.embed_dim), np.float32), plan.precision).shape[1]
    return {row: np.concatenate(each) if each else np.zeros((0, width)) for row, each in parts.items()}


def _batches(folder: JobFolder, plan: Plan, shard: int) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    with folder.reading(plan, shard) as file:
        for batch in file.iter_batches(columns=["row", "vector"]):
            yield batch.column("row").to_numpy(), vectors_of(batch)


def _problems(plan: Plan, folder: JobFolder, record: ShardRecord) -> Iterator[str]:
    own = plan.rows_of(record.shard)
    rejected = [reject.row for reject in folder.rejects(plan, record.shard)]
    if plan.layout == "parts":
        vectors = np.asarray(open_npy(folder.shard_path(plan, record.shard)))
        numbers = np.flatnonzero(~np.isnan(vectors[:, 0])) + own.start
        yield from _bad_vectors(vectors[numbers - own.start], numbers, plan)
    else:
        parts = []
        for some, vectors in _batches(folder, plan, record.shard):
            parts.append(some)
            yield from _bad_vectors(vectors, some, plan)
        numbers = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if len(numbers) != record.vectors:
        yield f"it holds {len(numbers):,} vectors and its record says {record.vectors:,}."
    if (record.rows, record.n_rejected) != (len(own) - len(rejected), len(rejected)):
        yield (
            f"its record says {record.rows:,} rows and {record.n_rejected:,} rejected, and it has "
            f"{len(own) - len(rejected):,} and {len(rejected):,}."
        )
    distinct = np.unique(numbers)
    if plan.long != "chunk" and len(distinct) != len(numbers):
        yield f"{len(numbers) - len(distinct):,} rows are there more than once."
    if not np.array_equal(
        np.sort(np.concatenate([distinct, np.array(rejected, np.int64)])), np.arange(own.start, own.stop)
    ):
        yield f"its rows and its rejects are not the rows {own.start:,} to {own.stop - 1:,}, each once."


def _bad_vectors(vectors: NDArray[Any], numbers: NDArray[np.int64], plan: Plan) -> Iterator[str]:
    tolerance = _FLOATS.get(plan.precision)
    if tolerance is None:
        return
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    bad = np.flatnonzero(~(np.abs(norms - 1) <= tolerance))
    if len(bad):
        yield f"{len(bad):,} vectors do not have length 1, first that of row {numbers[bad[0]]:,}: {norms[bad[0]]:.4f}."


def _agreement(ours: NDArray[Any], theirs: NDArray[Any], plan: Plan) -> NDArray[np.float64]:
    if plan.precision in ("binary", "ubinary"):
        bits = np.bitwise_count(ours.view(np.uint8) ^ theirs.view(np.uint8)).sum(axis=1)
        shares: NDArray[np.float64] = 1 - bits / (8 * ours.shape[1])
        return shares
    centre = 127.5 if plan.precision == "uint8" else 0.0
    left, right = ours.astype(np.float64) - centre, theirs.astype(np.float64) - centre
    cosines: NDArray[np.float64] = (
        (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    )
    return cosines
