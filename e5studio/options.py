"""The options of a model and of an encoder, as objects that travel from a caller to the loader."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TypedDict

from e5studio.backends import BackendName, DType
from e5studio.models import ModelMeta, PromptKind


@dataclass(frozen=True)
class ModelOptions:
    """Which weights to load, and how; `e5studio.encoder.E5Encoder` says what each option means."""

    model: str | Path | ModelMeta
    _: KW_ONLY
    path: str | Path | None = None
    prompt_kind: PromptKind | None = None
    backend: BackendName = "auto"
    device: str = "auto"
    dtype: DType = "auto"
    revision: str | None = None
    local_files_only: bool = False


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """What encoders over the same loaded weights may do differently; `E5Encoder` says what each option means."""

    max_tokens: int | None = None
    truncate_dim: int | None = None
    token_budget: int | None = None
    show_progress: bool | None = None


class EncodeArguments(TypedDict, total=False):
    """The fields of `EncodeOptions` as keyword arguments."""

    max_tokens: int | None
    truncate_dim: int | None
    token_budget: int | None
    show_progress: bool | None


class EncoderArguments(EncodeArguments, total=False):
    """The fields of `ModelOptions` and `EncodeOptions` as keyword arguments, but for the model."""

    path: str | Path | None
    prompt_kind: PromptKind | None
    backend: BackendName
    device: str
    dtype: DType
    revision: str | None
    local_files_only: bool


def split_arguments(model: str | Path | ModelMeta, arguments: EncoderArguments) -> tuple[ModelOptions, EncodeOptions]:
    """Keyword arguments of a public function as the two objects."""
    of_encoder = {name: value for name, value in arguments.items() if name in EncodeArguments.__annotations__}
    of_model = {name: value for name, value in arguments.items() if name not in of_encoder}
    return ModelOptions(model, **of_model), EncodeOptions(**of_encoder)  # type: ignore[arg-type]
