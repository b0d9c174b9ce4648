"""The options of the adapters of vector stores and pipelines: keyword arguments in, an `Embedder` out."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Unpack

from e5studio.embedder import Embedder, EmbedderOptions, LongDocuments, OnEmpty
from e5studio.errors import ModelUnavailableError, UnsupportedError
from e5studio.load import canonical, resolve
from e5studio.models import is_in_table
from e5studio.options import EncoderArguments


class EmbedderArguments(EncoderArguments, total=False):
    """The fields of `EmbedderOptions` as keyword arguments, but for the model."""

    instruction: str | None
    symmetric: bool
    long_documents: LongDocuments
    on_empty: OnEmpty
    cache_folder: str | None


def embedder_options(model: str | Path, **options: Unpack[EmbedderArguments]) -> EmbedderOptions:
    """The options of an adapter as an object.

    Raises:
        UnsupportedError: Some are no options of E5 Studio's; the message names them.
    """
    known = [field.name for field in fields(EmbedderOptions) if field.name != "model"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise UnsupportedError(
            f"{', '.join(unknown)}: E5 Studio has no such option.",
            f"Prompts, batches and normalisation are chosen by the model's card; the options are {', '.join(known)}.",
        )
    chosen: dict[str, Any] = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()
    }
    return EmbedderOptions(model=os.fspath(model), **chosen)


def stored_embedder(options: EmbedderOptions, fingerprint: str | None) -> Embedder:
    """The embedder that the configuration stored beside vectors describes, or a new one where there is no fingerprint.

    The configuration may be a stranger's, so it fetches no repository that is not in the table of models.

    Raises:
        FingerprintMismatchError: The model gives other vectors now.
        ModelUnavailableError: It would have to be fetched.
    """
    is_stored = fingerprint is not None
    if is_stored and not is_in_table(options.model) and resolve(canonical(options)).files is None:
        raise ModelUnavailableError(
            f"The stored configuration names the model {options.model!r}, which is not on this machine.",
            f"If you trust it, have it downloaded once: E5Encoder({options.model!r}, "
            f"prompt_kind={options.prompt_kind!r}, revision={options.revision!r}).",
        )
    return Embedder(options, fingerprint=fingerprint)
