"""`e5studio jobs`: how far a folder of shards is, whether it is right, and one file of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e5studio.cli.options import DeviceOption, JobFolderArgument, JsonOption, LocalOption, not_blank
from e5studio.cli.search import encoder_of
from e5studio.cli.terminal import PlainCommand, print_json, print_line, say
from e5studio.errors import FileFormatError, FingerprintMismatchError
from e5studio.jobs.folder import open_job
from e5studio.jobs.merge import manifest_of, merge_shards
from e5studio.jobs.records import Progress
from e5studio.jobs.verify import SAMPLE, verify_sample, verify_shards

NOT_DONE = 4
WRONG = 5

jobs = typer.Typer(no_args_is_help=True, help="Look after the folders of shards that `e5studio encode` makes.")


@jobs.command(cls=PlainCommand)
def status(folder: JobFolderArgument, as_json: JsonOption = False) -> None:
    """Say how far a job is; exit code 4 if shards are missing."""
    job, plan = open_job(folder)
    records = [job.record(plan, shard) for shard in range(plan.n_shards)]
    progress = Progress.of(record for record in records if record is not None)
    missing = [shard for shard, record in enumerate(records) if record is None]
    if as_json:
        print_json(
            {
                "shards": plan.n_shards,
                "done": progress.done,
                "missing": missing,
                "rows": plan.corpus.n_rows,
                "rows_with_vector": progress.rows,
                "vectors": progress.vectors,
                "rejected": dict(progress.rejected),
                "tokens": progress.tokens,
                "fingerprint": plan.encoder.fingerprint,
                "prompt": plan.prompt.text,
                "precision": plan.precision,
                "files": [file.path for file in plan.corpus.files],
            }
        )
    else:
        print_line(f"{progress.done:,} of {plan.n_shards:,} shards are done, {plan.shard_rows:,} rows each.")
        print_line(
            f"{progress.vectors:,} vectors of {progress.rows:,} of {plan.corpus.n_rows:,} rows; "
            f"{progress.rejected.total():,} rows have none."
        )
        print_line(
            f"{plan.encoder.model}, {plan.encoder.backend} in {plan.encoder.dtype}, prompt {plan.prompt.text!r}, "
            f"stored in {plan.precision}, texts of {plan.corpus.name}."
        )
        if missing:
            output = folder.with_name(folder.name.removesuffix(".job")) if plan.layout == "parts" else folder
            print_line(f"To go on, give `e5studio encode ... -o {output}` again as it was begun.")
    if missing:
        raise typer.Exit(NOT_DONE)


@jobs.command(cls=PlainCommand)
def verify(
    folder: JobFolderArgument,
    sample: Annotated[int, typer.Option(min=0, help="Rows to embed again.")] = SAMPLE,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", callback=not_blank, help="Only for a model of your own: its folder or Hub id."),
    ] = None,
    device: DeviceOption = "auto",
    local_files_only: LocalOption = False,
) -> None:
    """Check that every row is there once and unchanged, and that vectors come out alike; if not, exit code 5."""
    job, plan = open_job(folder)
    verdict = verify_shards(plan, job)
    if sample:
        with encoder_of(manifest_of(plan), model, device, local_files_only) as encoder:
            if encoder.spec != plan.encoder:
                raise FingerprintMismatchError(
                    f"{folder} was made by the encoder {plan.encoder.fingerprint}, and this one is "
                    f"{encoder.spec.fingerprint}.",
                    "Give the --model that made it, or leave the sample out: --sample 0.",
                )
            try:
                verify_sample(plan, job, encoder, verdict, sample)
            except (FileFormatError, OSError) as error:
                verdict.problems.append(f"No rows could be embedded again: {error} Leave them out with --sample 0.")
    print_line(
        f"{verdict.n_shards:,} of {plan.n_shards:,} shards are whole: {verdict.n_rows:,} rows with vectors, "
        f"{verdict.n_rejected:,} rejected, of {plan.corpus.n_rows:,}."
    )
    if verdict.least_agreement is not None:
        print_line(f"{verdict.n_sampled:,} rows made again agree with what is stored by {verdict.least_agreement:.6f}.")
    for problem in verdict.problems:
        say(f"Wrong: {problem}", style="red")
    if verdict.problems:
        raise typer.Exit(WRONG)


@jobs.command(cls=PlainCommand)
def merge(
    folder: JobFolderArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .parquet or .npy file.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")] = False,
) -> None:
    """Make one file of all shards; of .npy one that `e5studio search` reads."""
    job, plan = open_job(folder)
    n_rows = merge_shards(plan, job, output, overwrite=overwrite)
    say(f"Wrote {n_rows:,} rows to {output}.")
