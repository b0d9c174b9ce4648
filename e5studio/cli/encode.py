"""`e5studio encode`: embeds files of texts into a file of vectors or a folder of shards; a run that stopped goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from e5studio.cli.options import (
    InstructionOption,
    ModelArguments,
    TextOptions,
    grouped,
    known_prompt_kind,
    load_encoder,
)
from e5studio.cli.terminal import described_bar, say
from e5studio.encoder import E5Encoder
from e5studio.errors import FileFormatError, TextError
from e5studio.files import RowStatus, check_vector_ending, files_of, refuse_existing, write_vectors
from e5studio.files.arrow import import_pyarrow
from e5studio.files.vectors import VECTOR_ENDINGS
from e5studio.jobs.corpus import expand
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.merge import join_parts, manifest_of
from e5studio.jobs.plan import SHARD_ROWS, Layout, LongTexts, Plan, ShardPrecision, Share
from e5studio.jobs.run import OnRun, Run, read_corpus, run_job
from e5studio.models import PromptKind

SOME_ROWS_WITHOUT_VECTOR = 3
ProgressForm = Literal["bar", "json", "none"]
_ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_JSON_EVERY = 1.0  # seconds
_KINDS: dict[RowStatus, str] = {
    "empty": "empty",
    "missing": "without a value",
    "bad_type": "not text",
    "bad_row": "unreadable",
    "failed": "with a vector that is not finite",
}
_FOLDER_PANEL = "Folders of shards"


@dataclass(frozen=True)
class JobOptions:
    """The options for a folder of shards."""

    keep: Annotated[
        str | None,
        typer.Option(
            help="Columns to keep beside the vector, as id,url; all if left out.", rich_help_panel=_FOLDER_PANEL
        ),
    ] = None
    precision: Annotated[ShardPrecision, typer.Option(help="Of the stored vectors.", rich_help_panel=_FOLDER_PANEL)] = (
        "float32"
    )
    shard_rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of a shard; 16,384 if left out.", rich_help_panel=_FOLDER_PANEL)
    ] = None
    shard_of: Annotated[
        str | None,
        typer.Option(
            metavar="RANK/N",
            help="Make every Nth shard, as one of N workers: 0/16 to 15/16, or auto (Slurm, Kubernetes, torchrun).",
            rich_help_panel=_FOLDER_PANEL,
        ),
    ] = None

    def columns(self) -> tuple[str, ...] | None:
        """The columns to keep; None for all."""
        return None if self.keep is None else tuple(name.strip() for name in self.keep.split(",") if name.strip())

    def share(self) -> Share:
        """The shards of this worker."""
        try:
            if self.shard_of == "auto":
                return Share.of_environment(os.environ)
            return Share() if self.shard_of is None else Share.parse(self.shard_of)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--shard-of") from error

    def check(self, *, is_file: bool, is_chunked: bool, overwrite: bool) -> None:
        """Refuse what a single file has no room for, and what several workers would do to each other."""
        if overwrite and self.shard_of is not None:
            raise typer.BadParameter(
                "One of several workers would delete what the others made. Delete the folder yourself.",
                param_hint="--overwrite",
            )
        given = {
            "--keep": self.keep is not None,
            "--precision": self.precision != "float32",
            "--shard-rows": self.shard_rows is not None,
            "--shard-of": self.shard_of is not None,
            "--long": is_chunked,
        }
        for option, is_given in given.items():
            if is_file and is_given:
                raise typer.BadParameter(
                    "This needs a folder of shards: give --output a name without an ending. `e5studio jobs merge` "
                    "makes one file of it.",
                    param_hint=option,
                )


@grouped
def encode(
    *,
    texts: Annotated[
        list[Path],
        typer.Argument(
            help="Files of texts, patterns or folders: .txt, .csv, .tsv, .jsonl (also with .gz or .zst), .parquet."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File of vectors (.npy or .parquet), or a folder for shards.")
    ],
    arguments: ModelArguments,
    role: Annotated[
        str | None, typer.Option("--role", "-r", help="query, document or symmetric; needed where a model has prompts.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to put in front, in place of a role; '' for none.")] = None,
    instruction: InstructionOption = None,
    long: Annotated[
        LongTexts,
        typer.Option(
            help="Texts longer than the model reads: cut them, make a row of each part, or average the parts."
        ),
    ] = "truncate",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file, or a job that was begun with other options.")
    ] = False,
    progress: Annotated[
        ProgressForm, typer.Option(help="A bar on a terminal, a line of JSON a second on stdout, or nothing.")
    ] = "bar",
    job: JobOptions,
    files: TextOptions,
) -> None:
    """Embed files of texts. A run that was stopped goes on when the same command is given again.

    Rows without a usable text get no vector (exit code 3): an empty one in a file, a line in rejects/ of a folder.
    """
    if arguments.model is None:
        raise typer.BadParameter("Name the model: vectors of different models cannot be mixed.", param_hint="--model")
    options = arguments.checked()
    _check_role(known_prompt_kind(options), role, prompt)
    is_file = output.suffix.lower() in VECTOR_ENDINGS and not output.is_dir()
    share = job.share()
    job.check(is_file=is_file, is_chunked=long == "chunk", overwrite=overwrite)
    paths = expand(texts, ignoring=files_of(output) if is_file else ())
    _check_output(paths, output, overwrite, is_file=is_file)
    folder = JobFolder(parts_folder(output) if is_file else output)
    corpus = read_corpus(paths, asdict(files), () if is_file else job.columns(), long, folder, overwrite=overwrite)
    with _signals_as_exit(), load_encoder(options, arguments.max_tokens) as encoder:
        resolved = encoder.resolve_prompt(role, prompt=prompt, instruction=instruction)
        layout: Layout = "parts" if is_file else "parquet"
        plan = Plan(corpus, encoder.spec, resolved, long, job.precision, job.shard_rows or SHARD_ROWS[layout], layout)
        with _shown(plan, share, progress) as show:
            if is_file:
                run = encode_to_file(plan, encoder, output, show, overwrite=overwrite)
            else:
                run = _encode_to_folder(plan, encoder, folder, share, show, overwrite=overwrite)
    _report(run, plan, output)
    if run.progress.rejected:
        raise typer.Exit(SOME_ROWS_WITHOUT_VECTOR)


def parts_folder(output: Path) -> Path:
    """Where the parts of a file of vectors are until it is whole."""
    return output.with_name(f"{output.name}.job")


def encode_to_file(
    plan: Plan, encoder: E5Encoder, output: Path, on_run: OnRun = lambda run: None, *, overwrite: bool = False
) -> Run:
    """Make the parts of a file of vectors that are missing, and join them."""
    folder = JobFolder(parts_folder(output))
    if not overwrite:
        folder.remove_if_older(output)
    # The lock of the output is held from the beginning, so that no other run works on the same parts.
    with write_vectors(output, manifest_of(plan), plan.corpus.n_rows, overwrite=overwrite) as write:
        folder.begin(plan, overwrite=overwrite)
        with _saying_how_to_go_on(plan, folder):
            run = run_job(plan, folder, encoder, on_run=on_run)
            if not run.progress.rows:
                folder.remove()
                raise TextError(f"No row of {plan.corpus.name} could be embedded: {'; '.join(run.reasons)}.")
            join_parts(plan, folder, write)
    folder.remove()
    return run


def _encode_to_folder(
    plan: Plan, encoder: E5Encoder, folder: JobFolder, share: Share, on_run: OnRun, *, overwrite: bool
) -> Run:
    folder.begin(plan, overwrite=overwrite)
    with _saying_how_to_go_on(plan, folder):
        return run_job(plan, folder, encoder, share, on_run)


@contextmanager
def _saying_how_to_go_on(plan: Plan, folder: JobFolder) -> Iterator[None]:
    try:
        yield
    except BaseException:
        n_done = sum(folder.record(plan, shard) is not None for shard in range(plan.n_shards))
        if n_done:
            say(
                f"{n_done:,} of {plan.n_shards:,} shards are done and stay in {folder.path}. Give the same command "
                "again to go on."
            )
        elif plan.layout == "parts":
            folder.remove()
        raise


@contextmanager
def _shown(plan: Plan, share: Share, form: ProgressForm) -> Iterator[OnRun]:
    """How far a run is, as a bar or as lines of JSON."""
    n_rows = sum(len(plan.rows_of(shard)) for shard in share.of(plan.n_shards))
    if form == "json":
        yield _JsonLines(n_rows).show
    elif form == "none":
        yield lambda run: None
    else:
        with described_bar(n_rows) as show:
            yield lambda run: show(n_rows - run.n_rows + run.n_done, _in_words(run))


class _JsonLines:
    """Writes a line a second, and one at the end."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows, self._next = n_rows, 0.0

    def show(self, run: Run) -> None:
        if time.perf_counter() < self._next and not run.is_finished:
            return
        self._next = time.perf_counter() + _JSON_EVERY
        left = run.seconds_left
        line = {
            "rows": int(self._n_rows - run.n_rows + run.n_done),
            "of": self._n_rows,
            "rejected": run.n_rejected,
            "tokens": run.n_tokens,
            "tokens_per_second": round(run.n_tokens / run.seconds),
            "seconds": round(run.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
        }
        typer.echo(json.dumps(line))
        sys.stdout.flush()


def _in_words(run: Run) -> str:
    rejected = f", {run.n_rejected:,} rows without a vector" if run.n_rejected else ""
    left = "" if run.seconds_left is None else f", {_as_time(run.seconds_left)} left"
    return f"{run.n_tokens / run.seconds:,.0f} tokens/s{left}{rejected}"


def _as_time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


@contextmanager
def _signals_as_exit() -> Iterator[None]:
    """Turn SIGTERM, and SIGHUP of a terminal that closes, into SystemExit, so that no half-written file stays."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup lets a run outlive its terminal
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_role(kind: PromptKind | None, role: str | None, prompt: str | None) -> None:
    if prompt is not None and role is not None:
        raise typer.BadParameter("Give either --prompt or --role.", param_hint="--prompt")
    if kind in ("query_passage", "instruct") and role is None and prompt is None:
        raise typer.BadParameter(
            "This model was trained with prompts, so give the kind of texts: query, document, or symmetric "
            "(similarity, clustering, classification). --prompt '' puts nothing in front.",
            param_hint="--role",
        )


def _check_output(paths: Sequence[Path], output: Path, overwrite: bool, *, is_file: bool) -> None:
    if output.suffix and not is_file and not output.is_dir():
        raise FileFormatError(
            f"{output} ends in {output.suffix!r}. Vectors are stored in .npy or .parquet files, or as shards in a "
            "folder, whose name has no ending."
        )
    if not output.parent.is_dir():
        raise FileFormatError(f"There is no folder {output.parent}. Make it first, or choose another --output.")
    if not is_file:
        import_pyarrow()
        if output.exists() and not output.is_dir():
            refuse_existing(output)
        return
    check_vector_ending(output)
    if output.exists() and any(path.exists() and output.samefile(path) for path in paths):
        raise FileFormatError(f"{output} is the file of texts. Give the vectors another name.")
    if not overwrite:
        JobFolder(parts_folder(output)).remove_if_older(output)
        refuse_existing(*files_of(output))


def _report(run: Run, plan: Plan, output: Path) -> None:
    spec, progress = plan.encoder, run.progress
    say(
        f"Wrote {progress.vectors:,} vectors of {spec.embed_dim} dimensions to {output} "
        f"({spec.model}, prompt {plan.prompt.text!r}, fingerprint {spec.fingerprint})."
    )
    if run.n_tokens:
        say(
            f"{run.n_tokens:,} tokens in {run.seconds:.1f} s ({run.n_tokens / run.seconds:,.0f} a second) by "
            f"{spec.backend} in {spec.dtype}; padding was "
            f"{run.n_padding / (run.n_tokens + run.n_padding):.1%} of what was computed."
        )
    n_earlier = progress.rows + progress.rejected.total() - run.n_rows
    if len(run.records) < plan.n_shards:
        say(f"These are {len(run.records):,} of {plan.n_shards:,} shards; `e5studio jobs status` says what others did.")
    if n_earlier:
        say(f"{n_earlier:,} of the rows were embedded by earlier runs.")
    for sentence in run.notes.sentences().values():
        say(f"Warning: {sentence}", style="yellow")
    if n_rejected := progress.rejected.total():
        counts = ", ".join(
            f"{progress.rejected[status]:,} {kind}" for status, kind in _KINDS.items() if progress.rejected[status]
        )
        more = "; ..." if n_rejected > len(run.reasons) else ""
        say(
            f"Warning: {n_rejected:,} of {progress.rows + n_rejected:,} rows have no vector ({counts}): "
            f"{'; '.join(run.reasons)}{more}.",
            style="yellow",
        )
