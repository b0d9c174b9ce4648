"""The models of a server, found by the names that clients use for them.

A client that has no field for the role says it with the name: "e5-small-v2-query" and "e5-small-v2-passage" are
the model "e5-small-v2" with one prompt or the other. NVIDIA's servers have the same convention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from e5studio.encoder import E5Encoder
from e5studio.models import ModelMeta
from e5studio.server.fields import Body, text_field
from e5studio.server.request_errors import RequestError
from e5studio.spec import EncoderSpec

SUFFIXES: Mapping[str, str] = {"-query": "query", "-passage": "document"}


@dataclass(frozen=True, eq=False)
class OfferedModel:
    """A model that requests can name, loaded or not.

    Attributes:
        name: What `/v1/models` calls it.
        meta: Its prompts, its pooling, its dimensions.
        max_tokens: Tokens read of a text.
        created: When it was loaded, in seconds since 1970; 0 if it may not be.
        fingerprint: What determines its vectors, in short; None if that is known once it is loaded.
    """

    name: str
    meta: ModelMeta
    max_tokens: int
    created: int = 0
    fingerprint: str | None = None

    @property
    def short_name(self) -> str:
        """The name without its owner."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def takes_prompts(self) -> bool:
        """Whether the model was trained with prompts."""
        return self.meta.prompt_kind != "none"

    def names(self) -> list[str]:
        """The name, and those that say a role where the model has any."""
        return [self.name, *(self.name + suffix for suffix in SUFFIXES if self.takes_prompts)]


@dataclass(frozen=True, eq=False)
class ServedModel(OfferedModel):
    """A model that is loaded.

    Attributes:
        encoder: Its encoder, with the server's options.
        spec: What determines its vectors.
        fingerprint: The same in short.
    """

    encoder: E5Encoder = field(kw_only=True)
    spec: EncoderSpec = field(kw_only=True)
    fingerprint: str = field(kw_only=True)

    @classmethod
    def over(cls, encoder: E5Encoder, name: str | None = None, created: int = 0) -> ServedModel:
        """An encoder as a server knows it, under its own name or another."""
        spec = encoder.spec
        return cls(
            name or spec.model,
            encoder.meta,
            spec.max_tokens,
            created,
            encoder=encoder,
            spec=spec,
            fingerprint=spec.fingerprint,
        )


@dataclass(frozen=True)
class NamedModel:
    """A model as a request names it.

    Attributes:
        model: The model.
        requested: The name in the request.
        suffix: "-query" or "-passage", where the name ends so.
    """

    model: OfferedModel
    requested: str
    suffix: str | None = None


class Models(Protocol):
    """The models that requests can name."""

    def __iter__(self) -> Iterator[OfferedModel]:
        """All of them."""

    def of_body(self, body: Body) -> NamedModel:
        """The model that a request's body names; errors as `find`."""

    def find(self, name: str | None) -> NamedModel:
        """The model of a name.

        Raises:
            RequestError: No model has that name.
        """


class ServedModels:
    """All models of a server; the first is taken where a request names none.

    Args:
        models: At least one.
    """

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._models = list(models)
        self._by_name: dict[str, ServedModel] = {}
        for model in self._models:
            for name in (model.name, model.short_name):
                self._by_name.setdefault(name.casefold(), model)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    def of_body(self, body: Body) -> NamedModel:
        """The model that a request's body names; errors as `find`."""
        return self.find(text_field(body, "model"))

    def find(self, name: str | None) -> NamedModel:
        """The model of a name; the only one where a request names none.

        Raises:
            RequestError: No model has that name; or none is named, and there are several.
        """
        if name is None:
            if len(self._models) > 1:
                raise RequestError("invalid", f"Say which model: {self._listed()}.", param="model")
            return NamedModel(self._models[0], self._models[0].name)
        if named := find_named(name, lambda key: self._by_name.get(key.casefold())):
            return named
        shown = name if len(name) <= 80 else name[:80] + "…"
        raise RequestError(
            "unknown_model", f"The model {shown!r} is not served here. There is: {self._listed()}.", param="model"
        )

    def _listed(self) -> str:
        return ", ".join(model.name for model in self._models)


def find_named(name: str, find: Callable[[str], OfferedModel | None]) -> NamedModel | None:
    """The model of a name, which may end in a suffix that says the role.

    Args:
        name: As the request has it.
        find: Gives the model of a name without a suffix, if there is one.
    """
    key = name.strip().removesuffix(":latest")
    if model := find(key):
        return NamedModel(model, name)
    for suffix in SUFFIXES:
        if key.casefold().endswith(suffix) and (model := find(key[: -len(suffix)])):
            return NamedModel(model, name, suffix)
    return None


def loaded(model: OfferedModel) -> ServedModel:
    """A model of a server that has loaded all that it offers."""
    if not isinstance(model, ServedModel):
        raise TypeError(f"{model.name} is not loaded")
    return model
