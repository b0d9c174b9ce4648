"""Jobs on Ray: the shards of a plan made by actors, and the rows of any Ray dataset embedded as they pass.

A shard is made by the same code as without Ray, so a job that was begun on one can be finished on the other.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from e5studio.encode_report import ReportNotes
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError, FingerprintMismatchError, JobError, MissingDependencyError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.remote import located
from e5studio.files.texts import Row
from e5studio.jobs.corpus_reader import BLOCK_ROWS, CorpusReader
from e5studio.jobs.embedding import EmbeddedRows, RowEmbedder, one_ahead
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import LongTexts, Plan, ShardPrecision, Share
from e5studio.jobs.records import ShardRecord
from e5studio.jobs.row_streams import rows_of_column
from e5studio.jobs.run import OnRun, Run, finish, take_earlier_shards
from e5studio.jobs.shard import run_shard, stored
from e5studio.load import load_model
from e5studio.options import EncodeOptions, EncoderArguments, ModelOptions, split_arguments


@dataclass(frozen=True)
class Actors:
    """How many actors work, and what each has.

    Attributes:
        least: Actors from the beginning on.
        most: Actors that Ray adds where there is room; as `least` if None.
        n_cpus: Processors of each, which are the threads of its model.
        n_gpus: GPUs of each.
    """

    least: int = 1
    most: int | None = None
    n_cpus: int = 1
    n_gpus: float = 0.0

    def options(self) -> dict[str, Any]:
        """The arguments of `Dataset.map_batches` that say so."""
        strategy = import_ray("ray.data").ActorPoolStrategy
        compute = strategy(min_size=self.least, max_size=self.most or self.least)
        return {"compute": compute, "num_cpus": self.n_cpus, "num_gpus": self.n_gpus or None}


def import_ray(module: str = "ray") -> Any:
    """A module of Ray, which is optional (MissingDependencyError)."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError("Ray is not installed.", "Install it with: pip install 'e5studio[ray]'") from error


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected with Ray as long as the block lasts.

    Args:
        address: "local" starts it on this machine, "auto" finds the cluster of this one; or the address of another.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address, include_dashboard=False if address == "local" else None, **quiet)
    except (ConnectionError, ValueError) as error:
        advice = "--ray local starts one on this machine; `ray start --head` starts one that others can join."
        raise JobError(f"There is no Ray at {address!r}: {error}", advice) from error
    try:
        yield
    finally:
        ray.shutdown()


def run_on_ray(
    plan: Plan,
    folder: JobFolder,
    options: ModelOptions,
    actors: Actors,
    share: Share | None = None,
    on_run: OnRun = lambda run: None,
) -> Run:
    """Make the shards of a share that are not there as they should be, by actors; `connected` holds.

    Args:
        plan: The job; `folder.begin` has accepted it.
        folder: Where it is stored, at the same path on every node.
        options: Of the plan's encoder, as each actor loads it.
        actors: How many there are.
        share: The shards to make; None for all.
        on_run: Is told of each shard.

    Raises:
        JobError: A shard could not be made. The others that were made stay.
    """
    data = import_ray("ray.data")
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the command says how far it is
    own = (share or Share()).of(plan.n_shards)
    run = Run()
    missing = take_earlier_shards(run, plan, folder, own, on_run)
    if missing:
        # A block for each shard, so that actors are given them one by one.
        shards = data.from_items([{"shard": shard} for shard in missing], override_num_blocks=len(missing))
        made = shards.map_batches(
            ShardMaker,
            fn_constructor_args=(json.dumps(plan.to_json()), str(folder.path), options, actors.n_cpus),
            batch_format="pyarrow",
            batch_size=None,
            **actors.options(),
        )
        with _errors_of_ray():
            for rows in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in rows.to_pylist():
                    _take_shard(run, plan, row)
                    on_run(run)
    finish(run, plan, folder, on_run)
    return run


@contextmanager
def _errors_of_ray() -> Iterator[None]:
    """Turn errors of Ray into sentences."""
    try:
        yield
    except import_ray("ray.exceptions").RayError as error:
        cause = error.__cause__ if isinstance(error.__cause__, E5StudioError) else error
        raise JobError(f"Ray ended the work: {cause}", "Shards that are done stay; start again to go on.") from error


def _take_shard(run: Run, plan: Plan, row: dict[str, Any]) -> None:
    if row["error"]:
        raise JobError(f"{plan.name_of(row['shard'])} could not be made: {row['error']}", "Mend it and start again.")
    record = ShardRecord(**json.loads(row["record"]))
    run.records[record.shard] = record
    run.n_done += len(plan.rows_of(record.shard))
    run.n_tokens += record.tokens
    run.n_padding += row["padding"]
    run.n_rejected += record.n_rejected
    run.notes.merge(pickle.loads(row["notes"]))


class ShardMaker:
    """An actor that makes shards: a table of their numbers in, a table of their records out.

    Args:
        plan: The plan as JSON.
        folder: Where the job is stored.
        options: Of the plan's encoder.
        n_threads: Threads of the model.
    """

    def __init__(self, plan: str, folder: str, options: ModelOptions, n_threads: int) -> None:
        self._folder = JobFolder(located(folder))
        self._plan = Plan.from_json(self._folder.plan_path, plan)
        encoder = _load(options, EncodeOptions(max_tokens=self._plan.encoder.max_tokens), n_threads)
        if encoder.spec != self._plan.encoder:
            raise FingerprintMismatchError(
                f"The job was planned for the encoder {self._plan.encoder.fingerprint}, and this node loads "
                f"{encoder.spec.fingerprint}.",
                "Give all nodes the same model, packages and kind of processor, or name --backend and --dtype.",
            )
        self._embedder = RowEmbedder(encoder, self._plan.prompt, self._plan.long)
        self._reader = CorpusReader(self._plan.corpus)

    def __call__(self, table: Any) -> Any:
        """Make the shards that a table numbers; one that cannot be made says why in its row."""
        return import_pyarrow().Table.from_pylist([self._row(shard) for shard in table.column("shard").to_pylist()])

    def _row(self, shard: int) -> dict[str, Any]:
        padding: list[float] = []
        embedder = replace(self._embedder, notes=ReportNotes())

        def note(_: float, block: EmbeddedRows | None) -> None:
            padding.append(block.n_padding if block is not None else 0.0)

        record, error = "", ""
        try:
            # Ray gives a shard out again where it lost sight of the actor that made it.
            made = self._folder.earlier(self._plan, shard) or run_shard(
                self._plan, shard, embedder, self._reader, self._folder, note
            )
            record = json.dumps(asdict(made))
        except (E5StudioError, OSError) as caught:
            error = str(caught)
        notes = pickle.dumps(embedder.notes)
        return {"shard": shard, "record": record, "padding": sum(padding), "notes": notes, "error": error}


class TableEmbedder:
    """An actor that embeds rows: a table in, the same rows with their vectors out.

    Args:
        options: Of the encoder.
        encode_options: Of the encoder.
        n_threads: Threads of the model.
        column: The column of the texts.
        prompt: Arguments of `E5Encoder.resolve_prompt`.
        long: What becomes of long texts.
        precision: Of the vectors.
    """

    def __init__(
        self,
        options: ModelOptions,
        encode_options: EncodeOptions,
        n_threads: int,
        column: str,
        prompt: dict[str, str | None],
        long: LongTexts,
        precision: ShardPrecision,
    ) -> None:
        encoder = _load(options, encode_options, n_threads)
        self._embedder = RowEmbedder(encoder, encoder.resolve_prompt(**prompt), long)
        self._column, self._long, self._precision = column, long, precision

    def __call__(self, table: Any) -> Any:
        """Embed the rows of a table, some thousand at a time; the next are tokenised beside the device."""
        pieces = (table.slice(start, BLOCK_ROWS) for start in range(0, max(table.num_rows, 1), BLOCK_ROWS))
        prepared = ((piece, self._embedder.prepare(self._rows_of(piece))) for piece in pieces)
        done = [self._joined(piece, self._embedder.embed(rows)) for piece, rows in one_ahead(prepared)]
        return import_pyarrow().concat_tables(done)

    def _rows_of(self, table: Any) -> list[Row]:
        if self._column not in table.column_names:
            listed = ", ".join(map(repr, table.column_names[:20]))
            raise JobError(f"The dataset has no column {self._column!r}. There are: {listed}.", "Name it with column=.")
        return list(rows_of_column(table.column(self._column).combine_chunks(), self._column, 1))

    def _joined(self, table: Any, embedded: EmbeddedRows) -> Any:
        """The rows with their vectors; one without has null and says why."""
        arrow = import_pyarrow()
        rejected = np.flatnonzero([status != "ok" for status in embedded.statuses])
        order = np.argsort(np.concatenate([embedded.parents, rejected]), kind="stable")
        rows = np.concatenate([embedded.parents, rejected])[order]
        n_vectors, has_vector = len(embedded.vectors), order < len(embedded.vectors)
        vectors = stored(embedded.vectors, self._precision)
        spread = np.zeros((len(rows), vectors.shape[1]), vectors.dtype)
        spread[has_vector] = vectors[order[has_vector]]
        result = table.take(arrow.array(rows))
        if self._long == "chunk":
            spans = np.concatenate([embedded.spans, np.zeros((len(rejected), 2), np.int32)])[order]
            result = result.append_column("start", arrow.array(spans[:, 0]))
            result = result.append_column("end", arrow.array(spans[:, 1]))
        lists = arrow.FixedSizeListArray.from_arrays(
            arrow.array(spread.reshape(-1)), vectors.shape[1], mask=arrow.array(order >= n_vectors)
        )
        reasons = [embedded.statuses[row] if embedded.statuses[row] != "ok" else None for row in rows]
        return result.append_column("vector", lists).append_column("rejected", arrow.array(reasons, arrow.string()))


def embed_dataset(
    dataset: Any,
    model: str | Path,
    *,
    role: str | None = None,
    prompt: str | None = None,
    instruction: str | None = None,
    column: str = "text",
    long: LongTexts = "truncate",
    precision: ShardPrecision = "float32",
    actors: Actors | None = None,
    batch_size: int | None = 4 * BLOCK_ROWS,
    **arguments: Unpack[EncoderArguments],
) -> Any:
    """A Ray dataset with a vector for each row, embedded as the rows pass; nothing is computed yet.

    Args:
        dataset: A `ray.data.Dataset`.
        model: As `E5Encoder` takes it; a folder must be there on every node.
        role: "query", "document" or "symmetric", as `E5Encoder.resolve_prompt` takes it.
        prompt: Text to put in front, in place of a role.
        instruction: For instruct models, the task in one sentence.
        column: The column of the texts.
        long: What becomes of texts that are longer than the model reads; "chunk" makes a row of each part, with
            columns `start` and `end`.
        precision: Of the vectors.
        actors: How many work, and what each has; one of one processor if None.
        batch_size: Rows that an actor is given at once; None for those of a block of Ray.
        **arguments: Further arguments of `E5Encoder`.

    Returns:
        A dataset with the columns of the first, `vector` (a list of fixed size) and `rejected`: null, or why the row
        has no vector ("empty", "missing", "bad_type", "failed").
    """
    actors = actors or Actors()
    options, encode_options = split_arguments(model, arguments)
    chosen = {"prompt_name": role, "prompt": prompt, "instruction": instruction}
    return dataset.map_batches(
        TableEmbedder,
        fn_constructor_args=(options, encode_options, actors.n_cpus, column, chosen, long, precision),
        batch_format="pyarrow",
        batch_size=batch_size,
        **actors.options(),
    )


def _load(options: ModelOptions, encode_options: EncodeOptions, n_threads: int) -> E5Encoder:
    os.environ["E5STUDIO_THREADS"] = str(n_threads)
    return E5Encoder.from_loaded(load_model(options), encode_options).with_options(show_progress=False)
