"""Which models the page offers, and what it says of each.

A browser or a program can name models of the table, and those that whoever started the Studio named by their short
names: never a path or another Hub id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from e5studio.default_model import ModelChoice, default_model
from e5studio.errors import UnknownModelError
from e5studio.evaluation.published import published_scores
from e5studio.hub import find_local
from e5studio.model_packages import package_of
from e5studio.models import (
    ENGLISH,
    OFFLINE_MODEL,
    XLMR_LANGUAGES,
    ModelMeta,
    PromptKind,
    get_model_meta,
    is_in_table,
    list_models,
)
from e5studio.spec import EncoderSpec
from e5studio.studio.engine.own_models import OwnModel, checked_models, read_names

_PROMPTS: dict[PromptKind, str] = {
    "query_passage": "query and passage",
    "instruct": "instruction",
    "none": "none",
}
_LANGUAGES: dict[tuple[str, ...], str] = {ENGLISH: "English", XLMR_LANGUAGES: "100 languages"}
OWN_GROUP = "Yours"
_ADVICE: dict[str, str] = {
    "intfloat/e5-small-v2": "Recommended for English: fast",
    "intfloat/multilingual-e5-small": "Recommended for 100 languages: fast",
    "intfloat/multilingual-e5-large-instruct": "Recommended for best results: slow",
}
_TOKENS_PER_SECOND: dict[str, int] = {"intfloat/e5-small-v2": 7_634, "intfloat/multilingual-e5-base": 2_181}
"""As benchmarks/README.md has them: OpenVINO in float32, texts of mixed length, two cores of AMD EPYC (family 26)."""


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
    advice: str
    figures: str
    is_stand_in: bool

    @property
    def parameters(self) -> str:
        """The number of weights as people write it: "33 M", "7.1 B"."""
        millions = self.n_parameters / 1e6
        return f"{millions / 1000:.1f} B" if millions >= 1000 else f"{millions:.0f} M"


def model_here() -> str | None:
    """Short name of the table's first model whose files are on this machine; None where there is none."""
    return next((meta.short_name for meta in list_models() if find_local(meta) is not None), None)


class FilesArguments(TypedDict, total=False):
    """Arguments of `E5Encoder` that say which files a model has."""

    path: Path | None
    revision: str


@dataclass(frozen=True)
class Catalog:
    """The models of a page: those of the table, and the own models of whoever started it.

    Attributes:
        own: In the order in which they were named.
        start: The name of the model to start with; None for the usual one.
    """

    own: tuple[OwnModel, ...] = ()
    start: str | None = None

    @property
    def models(self) -> list[ModelMeta]:
        """All models: the own ones, then the table's in its order."""
        return [*(each.meta for each in self.own), *list_models()]

    def offered(self, name: object) -> ModelMeta:
        """The model that a browser or a program names.

        Raises:
            UnknownModelError: Not in this catalog; local folders and other Hub ids are refused here.
        """
        if not isinstance(name, str):
            raise UnknownModelError(
                f"A model is asked for by its name, such as 'e5-small-v2', not by {type(name).__name__}. "
                "Ask /models for the known ones."
            )
        if len(name) > 200:
            raise UnknownModelError("The model's name is longer than any model's name. Ask /models for the known ones.")
        own = next((each.meta for each in self.own if each.meta.name == name.strip()), None)
        if own is not None:
            return own
        try:
            return get_model_meta(name)
        except UnknownModelError as error:
            # The library's advice on models outside the table does not hold here.
            raise UnknownModelError(f"{error.fact} The Studio takes no others.") from error

    def maker(self, spec: EncoderSpec) -> ModelMeta | None:
        """The model that a file of vectors names; of own models with one name the one with the same files."""
        own = [each for each in self.own if each.source.name == spec.model]
        if own:
            return next((each for each in own if each.revision == spec.revision), own[0]).meta
        return get_model_meta(spec.model) if is_in_table(spec.model) else None

    def loadable(self, meta: ModelMeta) -> tuple[str | ModelMeta, FilesArguments]:
        """What the library loads for a model of `offered`, as `E5Encoder` takes it."""
        own = self._own(meta)
        return (meta.name, {}) if own is None else (own.source, {"path": own.folder, "revision": own.revision})

    def is_here(self, meta: ModelMeta) -> bool:
        """Whether a model's files are on this machine."""
        return self._own(meta) is not None or find_local(meta) is not None

    def card(self, meta: ModelMeta) -> ModelCard:
        """The card of a model; looks for its files on the disk, never on the network."""
        own, is_here = self._own(meta), self.is_here(meta)
        return ModelCard(
            name=meta.name,
            short_name=meta.short_name if own is None else meta.name,
            group=meta.group if own is None else OWN_GROUP,
            n_layers=meta.n_layers,
            embed_dim=meta.embed_dim,
            max_tokens=meta.max_tokens,
            n_parameters=meta.n_parameters,
            languages=_LANGUAGES.get(meta.languages, ""),
            prompts=_PROMPTS[meta.prompt_kind],
            is_here=is_here,
            download="" if own else meta.download_size,
            location="downloaded" if is_here else _source(meta),
            advice=_ADVICE.get(meta.name, ""),
            figures=_figures(meta) if own is None else "",
            is_stand_in=meta.name == OFFLINE_MODEL,
        )

    def cards(self) -> list[ModelCard]:
        """The cards of all models."""
        return [self.card(meta) for meta in self.models]

    def usable(self) -> ModelMeta | None:
        """The model to offer where another is not on this machine; None where there is none."""
        return next((meta for meta in self.models if self.is_here(meta)), None)

    def choose(self) -> ModelChoice:
        """The model to start with."""
        return ModelChoice(self.start, "chosen at the start") if self.start else default_model()

    def _own(self, meta: ModelMeta) -> OwnModel | None:
        return next((each for each in self.own if each.meta == meta), None)


def named_catalog(names: Sequence[str], prompt_kinds: Sequence[str] = ()) -> Catalog:
    """The catalog of a Studio for which these models were named; it starts with the first.

    Args:
        names: Models of the table, folders, Hub ids; each may end in =KIND, which says how it was trained to be used.
        prompt_kinds: One at most: the same of the only model outside the table.

    Raises:
        E5StudioError: A model is unknown, or cannot be used as it is; the message says why.
    """
    models = checked_models(read_names(names, prompt_kinds))
    metas = [each if isinstance(each, ModelMeta) else each.meta for each in models]
    own = tuple(each for each in models if isinstance(each, OwnModel))
    return Catalog(own, metas[0].name if metas else None)


def _figures(meta: ModelMeta) -> str:
    """Published quality and measured speed, as far as there are figures of this very model."""
    mean = next((each.value for each in published_scores() if (each.model, each.task) == (meta.name, "BEIR")), None)
    speed = _TOKENS_PER_SECOND.get(meta.name)
    figures = [
        "" if mean is None else f"BEIR {100 * mean:.1f}",
        "" if speed is None else f"{speed:,} tokens a second on two AMD cores",
    ]
    return " \N{MIDDLE DOT} ".join(filter(None, figures))


def _source(meta: ModelMeta) -> str:
    """Where a model that is not here comes from."""
    package = package_of(meta.name)
    if package is not None and package.is_only_source:
        return f"not installed ({package.module})"
    return f"{meta.download_size} to download"
