"""`e5studio mine`: hard negatives as a file, for training elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from e5studio.cache import VectorCache
from e5studio.cli.options import ModelArguments, grouped, load_encoder
from e5studio.cli.terminal import progress_bar, say
from e5studio.cli.training_options import MiningArguments, PairsArguments
from e5studio.errors import FileFormatError
from e5studio.files.atomic import atomic_files, refuse_existing
from e5studio.training import MiningReport, TrainingSet, mine_negatives, read_training_set
from e5studio.training.pairs_file import as_rows
from e5studio.training.roles import RolePrompts


@grouped
def mine(
    *,
    pairs: PairsArguments,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .jsonl file of query, positive, negatives; without prompts."),
    ],
    model: ModelArguments,
    mining: MiningArguments,
    n_negatives: Annotated[int, typer.Option("--negatives", min=1, help="Of each query.")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="Of the random choice.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder in which vectors are kept.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")] = False,
) -> None:
    """Mine hard negatives: documents that rank high and are not known to answer; probable answers are left out."""
    if output.suffix.lower() != ".jsonl":
        raise FileFormatError(f"{output} does not end in .jsonl.", "Negatives are written as JSON lines.")
    if not overwrite:
        refuse_existing(output)
    options = mining.options(n_negatives, seed)
    training_set = read_training_set(pairs.pairs, pairs.format())
    with load_encoder(model.checked(), model.max_tokens) as encoder:
        prompts = RolePrompts.of(encoder.meta.prompt_kind, is_symmetric=pairs.symmetric, instruction=pairs.instruction)
        with progress_bar(len(training_set.documents)) as show:
            mined = mine_negatives(
                encoder,
                training_set,
                options,
                prompts=prompts,
                cache=VectorCache(cache),
                on_progress=lambda done, _: show(done),
            )
    _write(mined.training_set, output, overwrite)
    if mined.report is not None:
        _say(mined.report, output)


def _write(training_set: TrainingSet, output: Path, overwrite: bool) -> None:
    with atomic_files(output, overwrite=overwrite) as (file,):
        for example in training_set.examples:
            for row in as_rows(example, training_set.documents):
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _say(report: MiningReport, output: Path) -> None:
    say(f"Wrote {report.n_queries:,} queries with {report.n_mined:,} mined negatives to {output}.")
    say(
        f"{report.n_left_out:,} documents of the first {report.options.depth} ranks were left out: they score within "
        f"{report.options.margin:g} of the best known answer, or above it, and are probably answers, too."
    )
    if report.n_fewer:
        say(
            f"{report.n_fewer:,} queries have fewer than {report.options.n_negatives} negatives, and "
            f"{report.n_without:,} of them none. A greater --depth or a smaller --margin gives more.",
            style="yellow",
        )
