"""Options that several commands share, and what is made of them: an encoder, lists of texts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from e5studio.backends import BackendName, DType
from e5studio.cli.terminal import say
from e5studio.default_model import default_model
from e5studio.encoder import E5Encoder
from e5studio.errors import FileFormatError, ModelUnavailableError
from e5studio.files import TextFile, open_texts
from e5studio.files.delimited import Quotes
from e5studio.files.remote import located
from e5studio.folder_recipe import stated_prompt_kind
from e5studio.hub import find_local
from e5studio.load import load_model
from e5studio.model_packages import FOUR_BIT_PACKAGE
from e5studio.models import (
    OFFLINE_MODEL,
    PREFERRED_MODEL,
    PromptKind,
    did_you_mean,
    get_model_meta,
    is_in_table,
)
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.text_checks import find_bad_texts

_MODEL_PANEL = "Model"
_FILE_PANEL = "Files of texts (.txt, .csv, .tsv, .jsonl, .parquet)"


def not_blank(value: str | None) -> str | None:
    """Refuse an option with an empty value."""
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty. Write something there, or leave the option out.")
    return value


PromptKindOption = Annotated[
    PromptKind | None,
    typer.Option(help="For a model of your own: how it was trained to be used.", rich_help_panel=_MODEL_PANEL),
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Commit, tag or branch on the Hub.", rich_help_panel=_MODEL_PANEL)
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_MODEL_PANEL)]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(min=4, help="Tokens read of a text; the model's own limit if left out.", rich_help_panel=_MODEL_PANEL),
]
LocalOption = Annotated[bool, typer.Option("--local-files-only", help="Never download.", rich_help_panel=_MODEL_PANEL)]
InstructionOption = Annotated[
    str | None,
    typer.Option("--instruction", "-i", callback=not_blank, help="The task in one sentence, for instruct models."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobFolderArgument = Annotated[
    Path,
    typer.Argument(
        parser=located, metavar="FOLDER", help="The folder that was given to `e5studio encode` as --output."
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding, if neither UTF-8 nor marked.", rich_help_panel=_FILE_PANEL),
]


def _one_character(value: str | None) -> str | None:
    r"""One character: as it is, or a tab as "tab" or "\t", or any by its number as "\x01"."""
    if value is None or len(value) == 1:
        return value
    if value in ("tab", "\\t"):
        return "\t"
    if number := re.fullmatch(r"\\x([0-9a-fA-F]{2})", value):
        return chr(int(number[1], 16))
    raise typer.BadParameter(f"{value!r} is not one character. Write a tab as: tab.")


DelimiterOption = Annotated[
    str | None,
    typer.Option(
        "--delimiter",
        callback=_one_character,
        help="What separates cells in CSV, if no comma: one character, or tab.",
        rich_help_panel=_FILE_PANEL,
    ),
]
QuotesOption = Annotated[
    Quotes | None,
    typer.Option(
        "--quotes",
        help="What a quote means in CSV: doubled or behind a backslash inside a cell in quotes; or literal.",
        rich_help_panel=_FILE_PANEL,
    ),
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses of options: Typer sees an option for each field."""
    spread: list[Parameter] = []
    groups: dict[str, Any] = {}
    for each in signature(command, eval_str=True).parameters.values():
        if is_dataclass(each.annotation):
            groups[each.name] = each.annotation
        spread += signature(each.annotation, eval_str=True).parameters.values() if each.name in groups else [each]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run.__signature__ = Signature([each.replace(kind=Parameter.KEYWORD_ONLY) for each in spread])  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


@dataclass(frozen=True)
class ModelArguments:
    """The options that choose a model and how it computes; `model` is None where none is named."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            callback=not_blank,
            envvar="E5STUDIO_MODEL",
            help="A model of `e5studio models`, another Hub id, or a local folder.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    prompt_kind: PromptKindOption = None
    revision: RevisionOption = None
    device: DeviceOption = "auto"
    backend: Annotated[
        BackendName,
        typer.Option(
            "--backend", help="What computes; see `e5studio models --backends`.", rich_help_panel=_MODEL_PANEL
        ),
    ] = "auto"
    dtype: Annotated[
        DType, typer.Option("--dtype", help="Precision; auto is float32.", rich_help_panel=_MODEL_PANEL)
    ] = "auto"
    max_tokens: MaxTokensOption = None
    local_files_only: LocalOption = False

    def checked(self) -> ModelOptions:
        """For the loader; asks for what a model outside the table needs before anything is read."""
        model = model_or_default(self.model)
        is_folder = Path(model).is_dir()
        is_own = "/" in model or is_folder  # any other name is one of the table's, mistyped
        states_it = is_folder and stated_prompt_kind(Path(model)) is not None
        if self.prompt_kind is None and not is_in_table(model) and is_own and not states_it:
            raise typer.BadParameter(
                f"{model!r} is no model of `e5studio models`. {did_you_mean(model)}For a model of your own say "
                "how it was trained to be used: query_passage (query: / passage:), instruct or none.",
                param_hint="--prompt-kind",
            )
        return ModelOptions(
            model,
            prompt_kind=self.prompt_kind,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            revision=self.revision,
            local_files_only=self.local_files_only,
        )


def known_prompt_kind(options: ModelOptions) -> PromptKind | None:
    """How the model wants its texts introduced, as far as that is known before it is loaded."""
    model = str(options.model)
    return get_model_meta(model).prompt_kind if is_in_table(model) else options.prompt_kind


def load_encoder(options: ModelOptions, max_tokens: int | None) -> E5Encoder:
    """The encoder that the options describe."""
    return E5Encoder.from_loaded(load_model(options), EncodeOptions(max_tokens=max_tokens))


@dataclass(frozen=True)
class TextOptions:
    """The shared options for files of texts."""

    column: Annotated[
        str | None,
        typer.Option(
            "--column", "--field", help="Column or field of the texts, if not 'text'.", rich_help_panel=_FILE_PANEL
        ),
    ] = None
    encoding: EncodingOption = None
    delimiter: DelimiterOption = None
    quotes: QuotesOption = None
    skip_bad_bytes: Annotated[
        bool,
        typer.Option(
            "--skip-bad-bytes",
            help="Treat a line with bytes that do not fit the encoding as a bad row, instead of refusing the file.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = False

    def open(self, path: Path) -> TextFile:
        """Open a file of texts as the options say."""
        return open_texts(
            path,
            column=self.column,
            encoding=self.encoding,
            delimiter=self.delimiter,
            quotes=self.quotes,
            skip_bad_bytes=self.skip_bad_bytes,
        )

    def gather(self, arguments: Sequence[str] | None, path: Path | None, name: str) -> list[str]:
        """The texts given one by one, then those of a file; each must hold something.

        Raises:
            FileFormatError: The file cannot be read, or some of its rows hold no text.
        """
        texts = list(arguments or [])
        if empty := find_bad_texts(texts):
            raise typer.BadParameter(f"Number {min(empty) + 1} is empty.", param_hint=f"--{name}")
        if path is None:
            return texts
        for row in self.open(path).rows():
            if row.text is None:
                raise FileFormatError(f"{path}: {row.detail}. Every row must hold a text here.")
            if find_bad_texts([row.text]):
                raise FileFormatError(f"{path}: line {row.line} holds no text. Every row must hold one here.")
            texts.append(row.text)
        return texts


def model_or_default(model: str | None) -> str:
    """The model given, else the one that the Studio would start with, which is named on stderr.

    Raises:
        ModelUnavailableError: None was given, and neither the preferred one nor one from a package is available.
    """
    if model is not None:
        return model
    choice = default_model()
    if choice.name == OFFLINE_MODEL and find_local(get_model_meta(OFFLINE_MODEL)) is None:
        raise ModelUnavailableError(
            f"{PREFERRED_MODEL} is not on this machine, the Hugging Face Hub does not answer, and no package that "
            "carries a model is installed.",
            "Try again with a network, or name a model of your own with --model; "
            f"{FOUR_BIT_PACKAGE.install} installs an E5.",
        )
    say(f"Model: {choice.name} ({choice.reason}).")
    return choice.name
