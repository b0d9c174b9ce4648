"""The options of `e5studio evaluate`: its tasks, and the settings of models that it measures on them."""

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
    known_prompt_kind,
    model_or_default,
    not_blank,
)
from e5studio.evaluation import RetrievalTask, read_beir, read_sts
from e5studio.files.dialect import DELIMITERS
from e5studio.models import PromptKind, is_in_table
from e5studio.options import ModelOptions
from e5studio.quantization import Precision

_MODEL_PANEL = "Settings (each may be repeated; every combination is evaluated)"
_TASK_PANEL = "Tasks"


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


@dataclass(frozen=True)
class TaskOptions:
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
                "It names one task, and several were given. Evaluate them one by one.", param_hint="--task"
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


@dataclass(frozen=True)
class Prompting:
    """Prompts that replace the encoder's own."""

    prompt_kind: PromptKind | None
    instruction: str | None


@dataclass(frozen=True)
class SettingOptions:
    """The options that say what is measured: every combination of them."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            callback=_none_blank,
            help="A model of `e5studio models`, a Hub id or a folder; else E5STUDIO_MODEL of the environment.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="PARENT CHILD",
            help="Two models in place of --model: which is better, and which queries moved most.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    backend: Annotated[list[str] | None, _choices(BackendName, "What computes.")] = None
    dtype: Annotated[list[str] | None, _choices(DType, "Precision of the model.")] = None
    precision: Annotated[
        list[str] | None,
        _choices(Precision, "Precision of the documents' vectors in a BEIR folder, beside float32."),
    ] = None
    prompts: Annotated[
        list[str] | None,
        _choices(PromptKind, "Prompts, in place of those that the model was trained with; 'none' measures it without."),
    ] = None
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            "--instruction",
            "-i",
            callback=_none_blank,
            help="The task in one sentence, for instruct models; the authors' own for the task if left out.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    prompt_kind: PromptKindOption = None
    revision: RevisionOption = None
    device: DeviceOption = "auto"
    max_tokens: MaxTokensOption = None
    local_files_only: LocalOption = False

    def settings(self) -> dict[ModelOptions, list[Prompting]]:
        """For each encoder its prompt settings; instructions only for models that take them."""
        settings = {options: self._promptings(options) for options in self._encoders()}
        if self.instruction and not any(way.instruction for ways in settings.values() for way in ways):
            raise typer.BadParameter("None of these models takes an instruction.", param_hint="--instruction")
        return settings

    def precisions(self, tasks: Sequence[Any]) -> list[Precision]:
        """Those of the documents' vectors, float32 first; refused where a task has no documents here."""
        if self.precision and not all(isinstance(task, RetrievalTask) for task in tasks):
            raise typer.BadParameter("It is for folders in BEIR's form.", param_hint="--precision")
        return list(dict.fromkeys(["float32", *cast(list[Precision], self.precision or [])]))

    def _encoders(self) -> list[ModelOptions]:
        if self.compare and self.model:
            raise typer.BadParameter("It stands in place of --model: give one of them.", param_hint="--compare")
        models = self.compare or self.model or [model_or_default(os.environ.get("E5STUDIO_MODEL") or None)]
        return [
            ModelArguments(
                model,
                None if is_in_table(model) else self.prompt_kind,  # it says how a model outside the table was trained
                self.revision,
                self.device,
                cast(BackendName, backend),
                cast(DType, dtype),
                local_files_only=self.local_files_only,
            ).checked()
            for model, backend, dtype in product(models, self.backend or ["auto"], self.dtype or ["auto"])
        ]

    def _promptings(self, options: ModelOptions) -> list[Prompting]:
        ways = [
            Prompting(cast(PromptKind | None, kind), instruction)
            for kind in self.prompts or (None,)
            for instruction in (
                self.instruction or (None,) if (kind or known_prompt_kind(options)) == "instruct" else (None,)
            )
        ]
        return list(dict.fromkeys(ways))
