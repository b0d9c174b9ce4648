"""`e5studio encode`: embeds files of texts into a file of vectors or a folder of shards; a run that stopped goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from e5studio.cli.encode_progress import ProgressForm, say_files_without_rows, say_result, shown
from e5studio.cli.options import (
    InstructionOption,
    ModelArguments,
    TextOptions,
    grouped,
    known_prompt_kind,
    load_encoder,
)
from e5studio.cli.ray_options import RayOptions
from e5studio.cli.terminal import say
from e5studio.encoder import E5Encoder
from e5studio.errors import FileFormatError, TextError
from e5studio.files import check_vector_ending, files_of, refuse_existing, write_vectors
from e5studio.files.arrow import import_pyarrow
from e5studio.files.remote import RemotePath, located
from e5studio.files.vectors import VECTOR_ENDINGS
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.input_files import expand
from e5studio.jobs.merge import join_parts, manifest_of
from e5studio.jobs.plan import SHARD_ROWS, Layout, LongTexts, Plan, ShardPrecision, Share
from e5studio.jobs.ray import connected, run_on_ray
from e5studio.jobs.run import OnRun, Run, read_corpus, run_job
from e5studio.models import PromptKind

SOME_ROWS_WITHOUT_VECTOR = 3
_ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
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
            parser=located,
            metavar="TEXTS",
            help="Files of texts, patterns or folders: .txt, .csv, .tsv, .jsonl (also with .gz or .zst), .parquet; "
            "also as s3://, gs://, hf://.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=located,
            metavar="PATH",
            help="File of vectors (.npy or .parquet), or a folder for shards, also as s3:// or gs://.",
        ),
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
    ray: RayOptions,
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
    actors = ray.pool(is_file=is_file)
    job.check(is_file=is_file, is_chunked=long == "chunk", overwrite=overwrite)
    paths = expand(texts, ignoring=files_of(output) if is_file else ())
    _check_output(paths, output, overwrite, is_file=is_file)
    folder = JobFolder(parts_folder(output) if is_file else output)
    corpus = read_corpus(paths, asdict(files), () if is_file else job.columns(), long, folder, overwrite=overwrite)
    say_files_without_rows(corpus)
    layout: Layout = "parts" if is_file else "parquet"
    with _signals_as_exit(), ExitStack() as stack:
        encoder = stack.enter_context(load_encoder(options, arguments.max_tokens))
        resolved = encoder.resolve_prompt(role, prompt=prompt, instruction=instruction)
        plan = Plan(corpus, encoder.spec, resolved, long, job.precision, job.shard_rows or SHARD_ROWS[layout], layout)
        show = stack.enter_context(shown(plan, share, progress))
        if is_file:
            run = encode_to_file(plan, encoder, output, show, overwrite=overwrite)
        elif ray.ray is not None and actors is not None:
            encoder.close()  # the actors have their own
            work = partial(run_on_ray, plan, folder, options, actors, share, show)
            run = _encode_to_folder(plan, folder, connected(ray.ray), work, overwrite=overwrite)
        else:
            work = partial(run_job, plan, folder, encoder, share, show)
            run = _encode_to_folder(plan, folder, nullcontext(), work, overwrite=overwrite)
    say_result(run, plan, output)
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
    plan: Plan, folder: JobFolder, workers: AbstractContextManager[None], work: Callable[[], Run], *, overwrite: bool
) -> Run:
    folder.begin(plan, overwrite=overwrite)
    with _saying_how_to_go_on(plan, folder), workers:
        return work()


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
    is_remote = isinstance(output, RemotePath)
    if is_remote and is_file:
        raise FileFormatError(
            f"{output} is no folder. On a store vectors are written as shards: leave out the ending. `e5studio jobs "
            "merge` makes one file of them on this machine."
        )
    if not is_remote and not output.parent.is_dir():
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
