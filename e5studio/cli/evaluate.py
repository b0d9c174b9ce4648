"""`e5studio evaluate`: measures the quality of models, backends, precisions and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from e5studio import evaluation
from e5studio.cache import VectorCache
from e5studio.cli.comparison_report import print_movers
from e5studio.cli.evaluation_options import Prompting, SettingOptions, TaskOptions
from e5studio.cli.evaluation_report import disagrees, print_results, results_as_json
from e5studio.cli.options import (
    grouped,
    known_prompt_kind,
    load_encoder,
)
from e5studio.cli.terminal import in_options, print_json, progress_bar, say
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError
from e5studio.evaluation import K_VALUES, Evaluation, Protocol, RetrievalTask, StsTask, prompts_of
from e5studio.files.remote import located
from e5studio.jobs.judged import JudgedVectors
from e5studio.jobs.vectors import ShardVectors
from e5studio.options import ModelOptions
from e5studio.quantization import Precision

DISAGREES = 4
SOME_LEFT_OUT = 3


@grouped
def evaluate(
    *,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK...",
            help="A folder in BEIR's form, a .csv or .tsv of pairs with scores, or the name of a task of mteb.",
        ),
    ],
    arguments: SettingOptions,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="Whose rules choose the prompts: the authors' (the query prompt on every text of a symmetric task) or "
            "mteb's (none there)."
        ),
    ] = "authors",
    check: Annotated[
        bool, typer.Option("--check", help="Set published figures beside it; exit code 4 where a run disagrees.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder in which vectors are kept, so that no run computes them again.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            parser=located,
            metavar="FOLDER",
            help="Measure the vectors of this job of `e5studio encode` over the task's corpus.jsonl, as they are.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: results in mteb's form.")] = False,
    tasks: TaskOptions,
) -> None:
    """Measure quality: ranking metrics of retrieval, or correlation with people's scores of pairs."""
    tasks.check_targets(targets)
    settings = arguments.settings()
    read = [tasks.read(target) for target in targets]
    _check_prompts(settings, read, protocol)
    judged = None if vectors is None else _judged(vectors, read)
    run = _Run(protocol, VectorCache(cache), tasks.cut_offs or K_VALUES, arguments.precisions(read), judged)
    groups, left_out = _evaluate_all(run, settings, arguments.max_tokens, read)
    if as_json:
        print_json(results_as_json(groups) | {"left_out": left_out})
    else:
        for task, group in zip(read, groups, strict=True):
            print_results(task, group, check)
            if arguments.compare:
                print_movers(task, group)
    if left_out:
        raise typer.Exit(SOME_LEFT_OUT)
    if check and any(disagrees(each) for group in groups for each in group):
        raise typer.Exit(DISAGREES)


def _check_prompts(settings: dict[ModelOptions, list[Prompting]], tasks: Sequence[Any], protocol: Protocol) -> None:
    """Refuse contradicting prompts before any model is loaded."""
    for (options, ways), task in product(settings.items(), tasks):
        for way in ways:
            kind = way.prompt_kind or known_prompt_kind(options)
            if kind is not None and isinstance(task, RetrievalTask | StsTask):
                prompts_of(task, kind, protocol, way.instruction)


def _judged(folder: Path, tasks: Sequence[Any]) -> JudgedVectors:
    """The vectors of a job over the corpus of the only task."""
    if len(tasks) != 1 or not isinstance(tasks[0], RetrievalTask):
        raise typer.BadParameter("Give one folder in BEIR's form, whose corpus was encoded.", param_hint="--vectors")
    judged = JudgedVectors.of(ShardVectors(folder), tasks[0])
    if judged.n_missing:
        say(f"{judged.n_missing:,} documents have no vector, so that no query finds them.", style="yellow")
    if judged.n_other_texts:
        say(
            f"Warning: {judged.n_other_texts:,} of {len(judged.task.document_ids):,} documents were embedded as "
            "another text than title and text, which the authors' scores are of.",
            style="yellow",
        )
    return judged


@dataclass(frozen=True)
class _Run:
    """What all evaluations of a command share."""

    protocol: Protocol
    cache: VectorCache
    k_values: Sequence[int]
    precisions: Sequence[Precision]
    judged: JudgedVectors | None


def _evaluate_all(
    run: _Run, settings: dict[ModelOptions, list[Prompting]], max_tokens: int | None, tasks: Sequence[Any]
) -> tuple[list[list[Evaluation]], list[dict[str, str]]]:
    """The evaluations of each task, and the settings that failed: one failure does not stop the others.

    Raises:
        E5StudioError: Nothing could be evaluated; the first reason.
    """
    groups: list[list[Evaluation]] = [[] for _ in tasks]
    errors: list[tuple[str, E5StudioError]] = []
    for options, ways in settings.items():
        setting = f"{options.model}, {options.backend} in {options.dtype}"
        try:
            encoder = load_encoder(options, max_tokens)
        except E5StudioError as error:
            errors.append((setting, error))
            continue
        with encoder:
            for (index, task), way, precision in product(enumerate(tasks), ways, run.precisions):
                try:
                    groups[index].append(_evaluate_one(run, encoder, task, way, precision))
                except E5StudioError as error:
                    errors.append((f"{setting}, {way.prompt_kind or 'its own'} prompts, {precision} vectors", error))
    if errors and not any(groups):
        raise errors[0][1]
    left_out = [{"setting": setting, "reason": in_options(error)} for setting, error in errors]
    for each in left_out:
        say(f"Left out: {each['setting']}: {each['reason']}", style="yellow")
    return [_without_copies(group) for group in groups], left_out


def _without_copies(group: Sequence[Evaluation]) -> list[Evaluation]:
    """Each setting once: "auto" may equal another setting."""
    unique: dict[Any, Evaluation] = {}
    for each in group:
        unique.setdefault((each.spec, each.prompts, each.precision), each)
    return list(unique.values())


def _evaluate_one(run: _Run, encoder: E5Encoder, task: Any, way: Prompting, precision: Precision) -> Evaluation:
    if not isinstance(task, RetrievalTask | StsTask):
        result = evaluation.evaluate_with_mteb(
            encoder,
            task,
            protocol=run.protocol,
            prompt_kind=way.prompt_kind,
            instruction=way.instruction,
            cache=run.cache,
        )
    else:
        documents = None
        if run.judged is not None and isinstance(task, RetrievalTask):
            task, documents = run.judged.task, run.judged.shards.blocks()
            run.judged.shards.check_made_by(evaluation.under_protocol(encoder, run.protocol).spec)
            kind = way.prompt_kind or encoder.meta.prompt_kind
            run.judged.check_prompt(prompts_of(task, kind, run.protocol, way.instruction).document)
        with progress_bar(task.n_texts) as show:
            result = evaluation.evaluate(
                encoder,
                task,
                protocol=run.protocol,
                prompt_kind=way.prompt_kind,
                instruction=way.instruction,
                cache=run.cache,
                k_values=run.k_values,
                precision=precision,
                documents=documents,
                on_progress=lambda done, _: show(done),
            )
    _say_work(result)
    return result


def _say_work(result: Evaluation) -> None:
    work, spec = result.work, result.spec
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in work.seconds.items())
    say(
        f"{result.task}, {spec.model}, {spec.backend} in {spec.dtype}: {work.n_texts:,} texts, {work.n_tokens:,} "
        f"tokens in {work.total_seconds:.1f} s ({stages})."
    )
    if work.n_truncated:
        say(f"{work.n_truncated:,} texts are longer than the {spec.max_tokens} tokens read; their ends were left out.")
    if result.prompts.instruction_source == "card":
        say(
            f"Warning: the authors name no instruction for {result.task!r}, so the model card's web search was used: "
            f"{result.prompts.query.instruction!r}. Give your own with --instruction, or the task's name with --task.",
            style="yellow",
        )
