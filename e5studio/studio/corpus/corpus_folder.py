"""The folders of jobs that whoever started the Studio named, each opened as an embedded corpus without embedding.

What one visitor has open is read once for all. Visitors see the name of a folder, never its path.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from e5studio.errors import (
    BackendError,
    FileFormatError,
    FingerprintMismatchError,
    MissingDependencyError,
    ModelFilesError,
    ModelUnavailableError,
    OutOfMemoryError,
    PromptError,
    UnknownModelError,
)
from e5studio.files.records import Records, Rows
from e5studio.files.remote import RemotePath, located
from e5studio.jobs.folder import open_job
from e5studio.jobs.plan import Plan
from e5studio.jobs.vectors import ShardVectors
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray, IdArray
from e5studio.studio.corpus.corpus import MAX_ROWS, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.table_file import SourceTable, choose_columns, table_of, with_shown_name
from e5studio.studio.corpus.vector_files import unit_vectors
from e5studio.studio.corpus.vector_store import MAX_BYTES
from e5studio.studio.corpus.visitor_store import SharedCorpus
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.engine.prompt_modes import PromptMode, prompts_in_front
from e5studio.studio.errors import LimitError
from e5studio.studio.formatting import count

_log = logging.getLogger(__name__)
_N_RUNS = 250
_RUN_ROWS = 4096  # as many as a group of rows in a shard, which is read as a whole
_ROWS_AT_ONCE = 2048
_BYTES_OF_A_NUMBER = 4
_SECONDS_BETWEEN_STAGES = 0.2
_NOT_HERE = (
    BackendError,
    FingerprintMismatchError,
    MissingDependencyError,
    ModelFilesError,
    ModelUnavailableError,
    OutOfMemoryError,
)


class CorpusFolder:
    """A folder that visitors can open.

    Args:
        path: Where it is.
        name: What visitors see of it.
        plan: The job as it was at the start.

    Attributes:
        name: As given.
        n_rows: Rows of its texts.
    """

    def __init__(self, path: Path, name: str, plan: Plan) -> None:
        self._path = path
        self._plan = plan
        self.name = name
        self.n_rows = plan.corpus.n_rows
        self._lock = threading.Lock()
        self._digest = ""
        self._latest: Callable[[], SharedCorpus | None] = lambda: None  # the stores of those who have it open hold it

    def check(self, catalog: Catalog) -> None:
        """Refuse what the plan alone tells that it cannot be opened.

        Raises:
            E5StudioError: The message says what to do about it.
        """
        _setting(self.name, self._plan, catalog)

    def open(self, engine: Engine, on_stage: OnStage = ignore_progress, max_rows: int = MAX_ROWS) -> SharedCorpus:
        """The texts of the folder with all columns and vectors; evenly spaced rows where there are too many.

        Args:
            engine: Gives the encoder, which must be the one that made the vectors.
            on_stage: Takes the progress; may stop it.
            max_rows: Most rows.

        Raises:
            FileFormatError: The job is not finished or damaged, or has no texts.
            FingerprintMismatchError: The encoder that made the vectors does not work here.
            UnknownModelError: Its model is not offered.
            PromptError: The vectors were made with a prompt that no prompt mode has.
        """
        while not self._lock.acquire(timeout=_SECONDS_BETWEEN_STAGES):
            on_stage(None, f"Waiting for {self.name}, which somebody else opens")
        try:
            return self._open(engine, on_stage, max_rows)
        except FileFormatError as error:
            raise with_shown_name(error, self._path, self.name) from error
        except OSError as error:
            _log.warning("%s: %s", self._path, error)
            raise FileFormatError(
                f"{self.name} cannot be read now: {error.strerror or type(error).__name__}."
            ) from error
        finally:
            self._lock.release()

    def _open(self, engine: Engine, on_stage: OnStage, max_rows: int) -> SharedCorpus:
        on_stage(None, f"Looking into {self.name}")
        shards = ShardVectors(self._path)
        latest = self._latest()
        if latest is not None and shards.digest == self._digest:
            return latest
        meta, setting = _setting(self.name, shards.plan, engine.catalog)
        if not shards.n_vectors:
            raise FileFormatError(f"{self.name} holds no vectors: all rows of its texts were rejected.")
        reads_end_spaces = self._check_encoder(engine, shards, meta, setting, on_stage)
        table, positions = _read_table(shards, self.name, max_rows, on_stage)
        corpus = choose_columns(table, shards.plan.corpus.column)
        vectors = unit_vectors(_read_vectors(shards, positions, on_stage), self.name)
        if len(corpus) < len(table):  # a text of a job is never empty, unless another program wrote the shard
            vectors = vectors[np.isin(table.lines, corpus.lines)]
        embedded = EmbeddedCorpus(
            corpus=corpus,
            setting=setting,
            meta=meta,
            spec=shards.plan.encoder,
            prompt=shards.plan.prompt.text,
            vectors=vectors,
            n_tokens=None,
            n_truncated=0,
            n_embedded=0,
            seconds=0.0,
            reads_end_spaces=reads_end_spaces,
            is_exact=(shards.plan.precision, shards.plan.long) == ("float32", "truncate"),
        )
        opened = SharedCorpus(table, embedded)
        self._digest, self._latest = shards.digest, weakref.ref(opened)
        return opened

    def _check_encoder(
        self, engine: Engine, shards: ShardVectors, meta: ModelMeta, setting: CorpusSetting, on_stage: OnStage
    ) -> bool:
        """Refuse vectors that the model does not make here; returns whether it reads white space at the end."""
        try:
            with engine.lease(meta, on_stage, setting.dtype, setting.backend) as encoder:
                shards.check_made_by(encoder.spec)
                return encoder.reads_end_spaces
        except _NOT_HERE as error:
            _log.warning("%s: %s", self._path, error)
            fact = error.fact.replace(str(self._path), self.name)
            if isinstance(error, ModelFilesError):  # it names folders
                fact = f"The files of {meta.short_name} on the server are damaged or not those of the start."
            spec = shards.plan.encoder
            raise FingerprintMismatchError(
                f"{self.name} needs {meta.short_name} by {spec.backend} in {spec.dtype} for its queries. {fact}",
                "Open it on a machine like the one that made it, or make it again on this one with `e5studio encode`.",
            ) from error


def corpus_folders(paths: Sequence[str]) -> tuple[CorpusFolder, ...]:
    """The folders that were named, each under a name of its own.

    Raises:
        FileFormatError: One holds no job, or is named twice.
    """
    folders = [path if isinstance(path, RemotePath) else Path(os.path.abspath(path)) for path in map(located, paths)]
    n_of_name = Counter(folder.name for folder in folders)
    named = []
    for folder in folders:
        if folders.count(folder) > 1:
            raise FileFormatError(f"{folder} is named twice. Name each folder once.")
        _, plan = open_job(folder)
        parent = f" ({folder.parent.name})" if n_of_name[folder.name] > 1 else ""
        named.append(CorpusFolder(folder, (folder.name or "folder") + parent, plan))
    return tuple(named)


def spread_positions(n: int, n_taken: int) -> IdArray:
    """Evenly spaced positions among n, ascending; of very many, in evenly spaced runs, so that few groups are read."""
    if n <= n_taken:
        return np.arange(n)
    if n <= _N_RUNS * _RUN_ROWS or n_taken < _N_RUNS:
        return np.arange(n_taken) * n // n_taken
    starts = np.arange(_N_RUNS) * (n // _RUN_ROWS) // _N_RUNS * _RUN_ROWS
    per_run = n_taken // _N_RUNS
    return (starts[:, None] + np.arange(per_run) * _RUN_ROWS // per_run).ravel()


def _setting(name: str, plan: Plan, catalog: Catalog) -> tuple[ModelMeta, CorpusSetting]:
    """The model and the setting that made the vectors."""
    spec, column = plan.encoder, plan.corpus.column
    if plan.layout != "parquet":
        raise FileFormatError(
            f"{name} holds the parts of a single file that was not finished, and no shards. Give the command again "
            "that began it, and upload the file under Upload existing embeddings."
        )
    if column not in plan.corpus.fields:
        columns = ",".join([column, *plan.corpus.fields])
        raise FileFormatError(
            f"{name} holds vectors without their texts, so there is nothing to show. Make it again with the column "
            f"{column!r} kept: e5studio encode ... --keep {columns}."
        )
    meta = catalog.maker(spec)
    if meta is None:
        what = spec.model if "/" in spec.model else f"FOLDER, where FOLDER is the one called {spec.model}"
        raise UnknownModelError(
            f"{name} was made with a model that this page does not offer, {spec.model!r}.",
            f"Whoever starts it can offer that model, too: --model {what}.",
        )
    mode, instruction = _prompt_mode(name, plan), plan.prompt.instruction or ""
    setting = CorpusSetting(meta.name, mode, instruction, spec.dtype, spec.backend)  # type: ignore[arg-type]
    return meta, setting


def _prompt_mode(name: str, plan: Plan) -> PromptMode:
    """The prompt mode whose texts have the job's prompt."""
    kind, prompt = plan.encoder.prompt_kind, plan.prompt
    modes: tuple[PromptMode, ...] = ("none", "retrieval", "symmetric")
    if prompt.name is not None and kind != "none":
        modes = ("retrieval",) if prompt.name == "document" else ("symmetric",)
    for mode in modes:
        if prompts_in_front(kind, mode, prompt.instruction)[1].text == prompt.text:
            return mode
    raise PromptError(
        f"{name} was made with the prompt {prompt.text!r}, which is none of its model's own, so this page cannot tell "
        "what to put in front of a query.",
        f"Search it with: e5studio search {name} --prompt TEXT.",
    )


def _read_table(shards: ShardVectors, name: str, max_rows: int, on_stage: OnStage) -> tuple[SourceTable, IdArray]:
    """Rows within all limits, with their positions."""
    n_taken = min(max_rows, MAX_BYTES // (_BYTES_OF_A_NUMBER * shards.plan.encoder.embed_dim))
    n_rejected = sum(record.n_rejected for record in shards.records)
    rejected = f"Left out: {count(n_rejected, 'row')} without a vector. The folder's rejects say why."
    row_word = "part" if shards.plan.long == "chunk" else "row"
    while True:
        positions = spread_positions(shards.n_vectors, n_taken)
        records = shards.records_at(positions)
        reported = Records(records.columns, _reported(records.rows, len(positions), name, on_stage), records.unfit)
        try:
            table = table_of(reported, name, row_word=row_word)
        except LimitError:
            if n_taken == 1:
                raise
            n_taken //= 2  # long texts or many columns
            continue
        notes = (*table.notes, *([rejected] if n_rejected else []))
        n_source_rows = shards.n_vectors if len(positions) < shards.n_vectors else None
        return replace(table, notes=notes, n_source_rows=n_source_rows), positions


def _reported(rows: Rows, n_rows: int, name: str, on_stage: OnStage) -> Rows:
    for number, row in enumerate(rows):
        if number % _ROWS_AT_ONCE == 0:
            on_stage(number / n_rows / 2, f"Reading the texts of {name}")
        yield row


def _read_vectors(shards: ShardVectors, positions: IdArray, on_stage: OnStage) -> FloatArray:
    vectors: FloatArray = np.empty((len(positions), shards.plan.encoder.embed_dim), np.float32)
    for start in range(0, len(positions), _ROWS_AT_ONCE):
        on_stage((1 + start / len(positions)) / 2, "Reading the vectors")
        part = slice(start, start + _ROWS_AT_ONCE)
        vectors[part] = shards.vectors_at(positions[part])
    return vectors
