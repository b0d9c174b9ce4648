"""Which models the page offers, what it says of each, and which one it starts with.

Only models of the table (and the one that whoever started the Studio named) can be asked
for by a browser or a program: never a name or a path that came over the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from e5studio.errors import UnknownModelError
from e5studio.hub import find_local, hub_answers
from e5studio.models import ModelMeta, PromptKind, get_model_meta, list_models

PREFERRED_MODEL = "intfloat/e5-small-v2"
OFFLINE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_PROMPTS: dict[PromptKind, str] = {
    "query_passage": "query and passage",
    "instruct": "instruction",
    "none": "none",
}

_LANGUAGES = {"en": "English"}


@dataclass(frozen=True)
class ModelChoice:
    """The model to start with.

    Attributes:
        name: Name in the table.
        reason: Why this one, as the end of a sentence.
    """

    name: str
    reason: str


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

    @property
    def parameters(self) -> str:
        """The number of weights as people write it: "33 M", "7.1 B"."""
        millions = self.n_parameters / 1e6
        return f"{millions / 1000:.1f} B" if millions >= 1000 else f"{millions:.0f} M"


def describe(meta: ModelMeta) -> ModelCard:
    """The card of a model, with a look at the disk and none at the network."""
    return ModelCard(
        name=meta.name,
        short_name=meta.name.rsplit("/", 1)[-1],
        group=meta.group,
        n_layers=meta.n_layers,
        embed_dim=meta.embed_dim,
        max_tokens=meta.max_tokens,
        n_parameters=meta.n_parameters,
        languages=_languages(meta),
        prompts=_PROMPTS[meta.prompt_kind],
        is_here=find_local(meta) is not None,
        download=_bytes(meta.download_bytes),
    )


def model_cards() -> list[ModelCard]:
    """The cards of all models of the table, in its order."""
    return [describe(meta) for meta in list_models()]


def model_here() -> str | None:
    """Short name of a model whose files are on this machine, the first of the table; None where there is none."""
    found = next((meta for meta in list_models() if find_local(meta) is not None), None)
    return found.name.rsplit("/", 1)[-1] if found else None


def offered(name: object) -> ModelMeta:
    """The model that a browser or a program asked for.

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


def choose_model(asked: str | None, *, hub_is_there: Callable[[], bool] = hub_answers) -> ModelChoice:
    """The model to start with.

    Args:
        asked: A name from the command line or the environment.
        hub_is_there: Asked only where the preferred model is not on this machine.

    Raises:
        UnknownModelError: `asked` is no model of the table.
    """
    if asked:
        return ModelChoice(_in_table(asked).name, "chosen at the start")
    preferred = get_model_meta(PREFERRED_MODEL)
    if find_local(preferred) is not None:
        return ModelChoice(preferred.name, "the usual choice, and on this machine already")
    if hub_is_there():
        size = _bytes(preferred.download_bytes)
        return ModelChoice(preferred.name, f"the usual choice; its {size} are downloaded once")
    short = preferred.name.rsplit("/", 1)[-1]
    why = f"{short} is not on this machine and the Hugging Face Hub does not answer"
    return ModelChoice(OFFLINE_MODEL, f"the offline copy, because {why}")


def _in_table(name: str) -> ModelMeta:
    try:
        return get_model_meta(name)
    except UnknownModelError as error:
        # What the library says of models of one's own does not hold here.
        known = error.fact
        raise UnknownModelError(f"{known} The Studio takes no others.") from error


def _languages(meta: ModelMeta) -> str:
    if len(meta.languages) == 1 and meta.languages[0] not in _LANGUAGES:
        return "100 languages"
    return ", ".join(_LANGUAGES.get(code, code) for code in meta.languages)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
