"""`e5studio evaluate`: measures the quality of models, backends, precisions and prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from e5studio import evaluation
from e5studio.analysis.retrieval_metrics import MAX_CUT_OFF
from e5studio.backends import BackendName, DType
from e5studio.cache import VectorCache
from e5studio.cli.evaluation_report import disagrees, print_results, results_as_json
from e5studio.cli.options import (
    DelimiterOption,
    DeviceOption,
    EncodingOption,
    LocalOption,
    MaxTokensOption,
    ModelArguments,
    PromptKindOption,
    QuotesOption,
    RevisionOption,
    grouped,
    known_prompt_kind,
    load_encoder,
    model_or_default,
    not_blank,
)
from e5studio.cli.terminal import in_options, print_json, progress_bar, say
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError
from e5studio.evaluation import K_VALUES, Evaluation, Protocol, RetrievalTask, StsTask, prompts_of, read_beir, read_sts
from e5studio.files.dialect import DELIMITERS
from e5studio.models import PromptKind, is_in_table
from e5studio.options import ModelOptions

DISAGREES = 4
SOME_LEFT_OUT = 3
_MODEL_PANEL = "Settings (each may be repeated; every combination is evaluated)"
_TASK_PANEL = "Tasks"


@dataclass(frozen=True)
class _Prompting:
    """Prompts that replace the encoder's own."""

    prompt_kind: PromptKind | None
    instruction: str | None


@dataclass(frozen=True)
class _Tasks:
    """The options that concern tasks."""

    split: Annotated[
        str | None, typer.Option(help="Split of the data; test if left out.", rich_help_panel=_TASK_PANEL)
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Which task of mteb a folder or table holds, if its name doesn't say.",
            rich_help_panel=_TASK_PANEL,
        ),
    ] = None
    cut_offs: Annotated[
        list[int] | None,
        typer.Option(
            "--k",
            min=1,
            max=MAX_CUT_OFF,
            help="Cut-off of retrieval metrics, where texts are read here and not by mteb; may be repeated.",
            rich_help_panel=_TASK_PANEL,
        ),
    ] = None
    columns: Annotated[
        tuple[str, str, str] | None,
        typer.Option(
            metavar="FIRST SECOND SCORE",
            help="Columns of a table, if not sentence1, sentence2, score.",
            rich_help_panel=_TASK_PANEL,
        ),
    ] = None
    encoding: EncodingOption = None
    delimiter: DelimiterOption = None
    quotes: QuotesOption = None

    def check_targets(self, targets: Sequence[str]) -> None:
        """Refuse options that fit none of the targets, or would apply to several."""
        tables = [target for target in targets if _is_table(Path(target))]
        for option, value in (
            ("--columns", self.columns),
            ("--delimiter", self.delimiter),
            ("--quotes", self.quotes),
        ):
            if value is not None and not tables:
                raise typer.BadParameter(
                    "It is for tables of pairs (.csv, .tsv), and there is none.", param_hint=option
                )
        if self.name is not None and len(targets) > 1:
            raise typer.BadParameter(
                "It names one task, and several are value. Evaluate them one by one.", param_hint="--task"
            )

    def read(self, target: str) -> Any:
        """A folder in BEIR's form, a table of pairs, or a task of mteb."""
        path = Path(target)
        if path.is_dir() or (target.startswith((".", "/", "~")) and not _is_table(path)):
            return read_beir(path, split=self.split, name=self.name, encoding=self.encoding)
        if _is_table(path):
            return read_sts(
                path,
                columns=self.columns,
                split=self.split,
                encoding=self.encoding,
                delimiter=self.delimiter,
                quotes=self.quotes,
                name=self.name,
            )
        return evaluation.load_task(target, split=self.split)


def _is_table(path: Path) -> bool:
    return not path.is_dir() and (path.is_file() or path.suffix.lower() in DELIMITERS)


def _none_blank(values: list[str] | None) -> list[str] | None:
    for each in values or []:
        not_blank(each)
    return values


def _choices(literal: Any, description: str) -> Any:
    """An option that may be repeated; Typer checks a single choice by its type, but not a list of them."""
    known = get_args(literal)

    def checked(values: list[str] | None) -> list[str] | None:
        for each in values or []:
            if each not in known:
                raise typer.BadParameter(f"{each!r} is not one of {', '.join(map(repr, known))}.")
        return values

    return typer.Option(
        metavar=f"[{'|'.join(known)}]", callback=checked, help=description, rich_help_panel=_MODEL_PANEL
    )


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
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            callback=_none_blank,
            help="A model of `e5studio models`, another Hub id, or a local folder. [env var: E5STUDIO_MODEL]",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None,
    backend: Annotated[list[str] | None, _choices(BackendName, "What computes.")] = None,
    dtype: Annotated[list[str] | None, _choices(DType, "Precision.")] = None,
    prompts: Annotated[
        list[str] | None,
        _choices(PromptKind, "Prompts, in place of those that the model was trained with; 'none' measures it without."),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            "--instruction",
            "-i",
            callback=_none_blank,
            help="The task in one sentence, for instruct models; the authors' own for the task if left out.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: results in mteb's form.")] = False,
    tasks: _Tasks,
    prompt_kind: PromptKindOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = "auto",
    max_tokens: MaxTokensOption = None,
    local_files_only: LocalOption = False,
) -> None:
    """Measure quality: ranking metrics of retrieval, or correlation with people's scores of pairs."""
    tasks.check_targets(targets)
    models = model or [model_or_default(os.environ.get("E5STUDIO_MODEL") or None)]
    options = [
        ModelArguments(
            each,
            None if is_in_table(each) else prompt_kind,  # it says how a model outside the table was trained
            revision,
            device,
            cast(BackendName, computes),
            cast(DType, precision),
            local_files_only=local_files_only,
        ).checked()
        for each, computes, precision in product(models, backend or ["auto"], dtype or ["auto"])
    ]
    settings = _settings(options, prompts, instruction)
    read = [tasks.read(target) for target in targets]
    _check_prompts(settings, read, protocol)
    groups, left_out = _evaluate_all(
        settings, max_tokens, read, protocol, VectorCache(cache), tasks.cut_offs or K_VALUES
    )
    if as_json:
        print_json(results_as_json(groups) | {"left_out": left_out})
    else:
        for task, group in zip(read, groups, strict=True):
            print_results(task, group, check)
    if left_out:
        raise typer.Exit(SOME_LEFT_OUT)
    if check and any(disagrees(each) for group in groups for each in group):
        raise typer.Exit(DISAGREES)


def _settings(
    options: Sequence[ModelOptions], kinds: Sequence[str] | None, instructions: Sequence[str] | None
) -> dict[ModelOptions, list[_Prompting]]:
    """For each encoder its prompt settings; instructions only for models that take them."""
    settings: dict[ModelOptions, list[_Prompting]] = {}
    for each in options:
        ways = [
            _Prompting(cast(PromptKind | None, kind), instruction)
            for kind in kinds or (None,)
            for instruction in (instructions or (None,) if (kind or known_prompt_kind(each)) == "instruct" else (None,))
        ]
        settings[each] = list(dict.fromkeys(ways))
    if instructions and not any(way.instruction for ways in settings.values() for way in ways):
        raise typer.BadParameter("None of these models takes an instruction.", param_hint="--instruction")
    return settings


def _check_prompts(settings: dict[ModelOptions, list[_Prompting]], tasks: Sequence[Any], protocol: Protocol) -> None:
    """Refuse contradicting prompts before any model is loaded."""
    for (options, ways), task in product(settings.items(), tasks):
        for way in ways:
            kind = way.prompt_kind or known_prompt_kind(options)
            if kind is not None and isinstance(task, RetrievalTask | StsTask):
                prompts_of(task, kind, protocol, way.instruction)


def _evaluate_all(
    settings: dict[ModelOptions, list[_Prompting]],
    max_tokens: int | None,
    tasks: Sequence[Any],
    protocol: Protocol,
    cache: VectorCache,
    k_values: Sequence[int],
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
            for (index, task), way in product(enumerate(tasks), ways):
                try:
                    groups[index].append(_evaluate_one(encoder, task, way, protocol, cache, k_values))
                except E5StudioError as error:
                    errors.append((f"{setting}, {way.prompt_kind or 'its own'} prompts", error))
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
        unique.setdefault((each.spec, each.prompts), each)
    return list(unique.values())


def _evaluate_one(
    encoder: E5Encoder, task: Any, way: _Prompting, protocol: Protocol, cache: VectorCache, k_values: Sequence[int]
) -> Evaluation:
    if not isinstance(task, RetrievalTask | StsTask):
        result = evaluation.evaluate_with_mteb(
            encoder,
            task,
            protocol=protocol,
            prompt_kind=way.prompt_kind,
            instruction=way.instruction,
            cache=cache,
        )
    else:
        with progress_bar(task.n_texts) as show:
            result = evaluation.evaluate(
                encoder,
                task,
                protocol=protocol,
                prompt_kind=way.prompt_kind,
                instruction=way.instruction,
                cache=cache,
                k_values=k_values,
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
