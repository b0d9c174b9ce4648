"""From the names on the command line to loaded models. It imports nothing that a web server needs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from e5studio.errors import PromptError, UnknownModelError
from e5studio.model_pool import Lease, get_model_pool
from e5studio.models import PROMPT_KINDS
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.server.served_models import ServedModel, ServedModels


def read_model(name: str, options: ModelOptions) -> ModelOptions:
    """The options of a model named as NAME or NAME=KIND.

    Raises:
        PromptError: The kind is unknown.
    """
    name, separator, kind = name.rpartition("=")
    if not separator:
        name, kind = kind, ""
    if separator and kind not in PROMPT_KINDS:
        raise PromptError(f"{kind!r} is no prompt kind.", f"Write --model {name}=query_passage, =instruct or =none.")
    return ModelOptions(
        name,
        prompt_kind=kind or options.prompt_kind,  # type: ignore[arg-type]
        backend=options.backend,
        device=options.device,
        dtype=options.dtype,
        revision=options.revision,
        local_files_only=options.local_files_only,
    )


def load_models(models: Sequence[ModelOptions], encode: EncodeOptions) -> tuple[ServedModels, list[Lease]]:
    """Load models; their leases keep them in memory.

    Raises:
        UnknownModelError: Two have one name.
        E5StudioError: As `E5Encoder`.
    """
    leases = [get_model_pool().lease_with(each, encode) for each in models]
    served = [served_model(lease) for lease in leases]
    names = [each.name for each in served]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UnknownModelError(
            f"Two of the models are called {twice[0]}, and a request could not say which it means.",
            "Name each model once, and give folders of your own different names.",
        )
    return ServedModels(served), leases


def served_model(lease: Lease) -> ServedModel:
    """A leased model as the server knows it."""
    return ServedModel.over(lease.encoder, created=int(time.time()))
