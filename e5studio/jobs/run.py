"""Runs a job: makes every shard that is missing, cut or damaged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from e5studio.encode_report import ReportNotes
from e5studio.encoder import E5Encoder
from e5studio.jobs.corpus import Corpus
from e5studio.jobs.corpus_reader import CorpusReader
from e5studio.jobs.embedding import EmbeddedRows, RowEmbedder
from e5studio.jobs.folder import JobFolder, other_job
from e5studio.jobs.input_files import measure
from e5studio.jobs.plan import Plan, Share, at_paths_of, file_differences
from e5studio.jobs.records import Progress, ShardRecord
from e5studio.jobs.scan import scan
from e5studio.jobs.shard import reserved_columns, run_shard

_REASONS = 5


@dataclass
class Run:
    """What one run did so far.

    Attributes:
        n_to_check: Shards of earlier runs, whose digests are compared with what their records say.
        n_checked: Of these, those that were.
        n_rows: Rows that this run has to embed.
        n_done: Of these, rows that are done, in part by shards that are not.
        n_rejected: Rows without a vector, also those of earlier runs.
        n_tokens: Tokens that the model read.
        n_padding: Tokens of padding that it computed beside them.
        records: Of the shards of this worker, also those of earlier runs.
        reasons: Why the first rows without a vector have none.
        notes: What a user should know of the texts.
        started: When it began.
        is_finished: Whether all is done.
    """

    n_to_check: int = 0
    n_checked: int = 0
    n_rows: int = 0
    n_done: float = 0
    n_rejected: int = 0
    n_tokens: int = 0
    n_padding: float = 0.0
    records: dict[int, ShardRecord] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: ReportNotes = field(default_factory=ReportNotes)
    started: float = field(default_factory=time.perf_counter)
    is_finished: bool = False

    @property
    def is_checking(self) -> bool:
        """Whether shards of earlier runs are being read, and nothing is embedded yet."""
        return self.n_checked < self.n_to_check

    @property
    def seconds(self) -> float:
        """How long it takes so far."""
        return time.perf_counter() - self.started

    @property
    def seconds_left(self) -> float | None:
        """How long it will take, if the rows that are left are like those before."""
        return self.seconds * (self.n_rows - self.n_done) / self.n_done if self.n_done else None

    @property
    def progress(self) -> Progress:
        """What the shards of this worker hold."""
        return Progress.of(self.records.values())


OnRun = Callable[[Run], None]


def read_corpus(
    paths: Sequence[Path],
    reading: Mapping[str, Any],
    keep: tuple[str, ...] | None,
    long: str,
    folder: JobFolder,
    *,
    overwrite: bool = False,
) -> Corpus:
    """The corpus of a job; files that a job was begun with are not read through again.

    Args:
        paths: The files.
        reading: The options of `find_texts`.
        keep: The columns that go along; None for all.
        long: What becomes of long texts.
        folder: Where the job is, or will be.
        overwrite: Whether a job over other files may be replaced.

    Raises:
        FingerprintMismatchError: The folder holds a job over other files.
        FileFormatError: A file cannot be read, or they do not fit together.
        OSError: A file is missing.
    """
    known = folder.read_plan(overwrite=overwrite)
    files = measure(paths, () if known is None else known.corpus.files)
    differing = [] if known is None else file_differences(known.corpus.files, files)
    if differing and not overwrite:
        raise other_job(folder.path, differing)
    if known is not None and not differing and (dict(known.corpus.reading), known.corpus.keep) == (reading, keep):
        return at_paths_of(files, known.corpus)
    return scan(files, reading, keep, reserved_columns(long))


def run_job(
    plan: Plan, folder: JobFolder, encoder: E5Encoder, share: Share | None = None, on_run: OnRun = lambda run: None
) -> Run:
    """Make the shards of a share that are not there as they should be.

    Args:
        plan: The job; `folder.begin` has accepted it.
        folder: Where it is stored.
        encoder: The plan's.
        share: The shards of this worker; None for all.
        on_run: Is told of the progress.

    Raises:
        OutputError: Another worker writes one of these shards.
        FileFormatError: A file of texts is not what it was.
        OSError: A file of texts is gone, or the disk is full.
    """
    run = Run()
    reader = CorpusReader(plan.corpus)
    embedder = RowEmbedder(encoder.with_options(show_progress=False), plan.prompt, plan.long, run.notes)
    own = (share or Share()).of(plan.n_shards)
    missing = take_earlier_shards(run, plan, folder, own, on_run)
    for shard in missing:
        before = run.n_done

        def on_block(n_rows: float, block: EmbeddedRows | None, before: float = before) -> None:
            run.n_done = before + n_rows
            if block is not None:
                run.n_tokens += block.n_tokens
                run.n_padding += block.n_padding
                run.n_rejected += sum(status != "ok" for status in block.statuses)
            on_run(run)

        run.records[shard] = run_shard(plan, shard, embedder, reader, folder, on_block)
    finish(run, plan, folder, on_run)
    return run


def take_earlier_shards(run: Run, plan: Plan, folder: JobFolder, own: Sequence[int], on_run: OnRun) -> list[int]:
    """Begin a run with the shards that are as their records say; returns the others, which are to be made."""
    earlier = [shard for shard in own if folder.record(plan, shard) is not None]
    run.n_to_check = len(earlier)
    for shard in earlier:
        on_run(run)
        if (record := folder.earlier(plan, shard)) is not None:
            run.records[shard] = record
        run.n_checked += 1
    missing = [shard for shard in own if shard not in run.records]
    run.n_rejected = run.progress.rejected.total()
    run.n_rows = sum(len(plan.rows_of(shard)) for shard in missing)
    run.started = time.perf_counter()  # without what it takes to read the shards that are there
    on_run(run)
    return missing


def finish(run: Run, plan: Plan, folder: JobFolder, on_run: OnRun) -> None:
    """End a run whose shards are all there."""
    run.is_finished = True
    on_run(run)
    run.reasons = list(islice(_reasons(run, plan, folder), _REASONS))


def _reasons(run: Run, plan: Plan, folder: JobFolder) -> Iterator[str]:
    for shard, record in sorted(run.records.items()):
        if record.rejected:
            yield from (reject.reason for reject in folder.rejects(plan, shard))
