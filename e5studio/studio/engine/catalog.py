"""Which models the page offers, and what it says of each.

A browser or a program can name models of the table only: never a path or another Hub id.
"""

from __future__ import annotations

from dataclasses import dataclass

from e5studio.default_model import ModelChoice, default_model
from e5studio.errors import UnknownModelError
from e5studio.hub import find_local
from e5studio.model_packages import package_of
from e5studio.models import ENGLISH, ModelMeta, PromptKind, get_model_meta, list_models

_PROMPTS: dict[PromptKind, str] = {
    "query_passage": "query and passage",
    "instruct": "instruction",
    "none": "none",
}


@dataclass(frozen=True)
class ModelCard:
    """What the picker says of a model."""

    name: str
    short_name: str
    group: str
    n_layers: int
    embed_dim: int
    max_tokens: int
    n_parameters: int
    languages: str
    prompts: str
    is_here: bool
    download: str
    location: str

    @property
    def parameters(self) -> str:
        """The number of weights as people write it: "33 M", "7.1 B"."""
        millions = self.n_parameters / 1e6
        return f"{millions / 1000:.1f} B" if millions >= 1000 else f"{millions:.0f} M"


def model_card(name: str) -> ModelCard:
    """The card of a model of the table; looks for its files on the disk, never on the network."""
    meta = get_model_meta(name)
    is_here = find_local(meta) is not None
    return ModelCard(
        name=meta.name,
        short_name=meta.short_name,
        group=meta.group,
        n_layers=meta.n_layers,
        embed_dim=meta.embed_dim,
        max_tokens=meta.max_tokens,
        n_parameters=meta.n_parameters,
        languages="English" if meta.languages == ENGLISH else "100 languages",
        prompts=_PROMPTS[meta.prompt_kind],
        is_here=is_here,
        download=meta.download_size,
        location="here" if is_here else _source(meta),
    )


def model_cards() -> list[ModelCard]:
    """The cards of all models of the table, in its order."""
    return [model_card(meta.name) for meta in list_models()]


def model_here() -> str | None:
    """Short name of the table's first model whose files are on this machine; None where there is none."""
    return next((meta.short_name for meta in list_models() if find_local(meta) is not None), None)


def offered(name: object) -> ModelMeta:
    """The model that a browser or a program names.

    Raises:
        UnknownModelError: Not in the table; local folders and other Hub ids are refused here.
    """
    if not isinstance(name, str):
        raise UnknownModelError(
            f"A model is asked for by its name, such as 'e5-small-v2', not by {type(name).__name__}. "
            "Ask /models for the known ones."
        )
    if len(name) > 200:
        raise UnknownModelError("The model's name is longer than any model's name. Ask /models for the known ones.")
    return _in_table(name)


def choose_model(name: str | None) -> ModelChoice:
    """The model to start with: one that the command line or the environment names, else the default.

    Raises:
        UnknownModelError: `name` is not in the table.
    """
    return ModelChoice(_in_table(name).name, "chosen at the start") if name else default_model()


def _source(meta: ModelMeta) -> str:
    """Where a model that is not here comes from."""
    package = package_of(meta.name)
    if package is not None and package.is_only_source:
        return f"not installed ({package.module})"
    return f"{meta.download_size} to download"


def _in_table(name: str) -> ModelMeta:
    try:
        return get_model_meta(name)
    except UnknownModelError as error:
        # The library's advice on models outside the table does not hold here.
        raise UnknownModelError(f"{error.fact} The Studio takes no others.") from error
