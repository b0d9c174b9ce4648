"""The models that a server has loaded, found by the names that clients use for them.

A client that has no field for the role says it with the name: "e5-small-v2-query" and "e5-small-v2-passage" are
the model "e5-small-v2" with one prompt or the other. NVIDIA's servers have the same convention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from e5studio.encoder import E5Encoder
from e5studio.server.request_errors import RequestError
from e5studio.spec import EncoderSpec

SUFFIXES: Mapping[str, str] = {"-query": "query", "-passage": "document"}


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that is loaded.

    Attributes:
        name: What `/v1/models` calls it.
        encoder: Its encoder, with the server's options.
        spec: What determines its vectors.
        fingerprint: The same in short.
        created: When it was loaded, in seconds since 1970.
    """

    name: str
    encoder: E5Encoder
    spec: EncoderSpec
    fingerprint: str
    created: int

    @property
    def short_name(self) -> str:
        """The name without its owner."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def takes_prompts(self) -> bool:
        """Whether the model was trained with prompts."""
        return self.encoder.meta.prompt_kind != "none"

    def names(self) -> list[str]:
        """The name, and those that say a role where the model has any."""
        return [self.name, *(self.name + suffix for suffix in SUFFIXES if self.takes_prompts)]


@dataclass(frozen=True)
class NamedModel:
    """A model as a request names it.

    Attributes:
        model: The model.
        requested: The name in the request.
        suffix: "-query" or "-passage", where the name ends so.
    """

    model: ServedModel
    requested: str
    suffix: str | None = None


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

    def find(self, name: str | None) -> NamedModel:
        """The model of a name; the only one where a request names none.

        Raises:
            RequestError: No model has that name; or none is named, and there are several.
        """
        if name is None:
            if len(self._models) > 1:
                raise RequestError("invalid", f"Say which model: {self._listed()}.", param="model")
            return NamedModel(self._models[0], self._models[0].name)
        key = name.strip().removesuffix(":latest").casefold()
        if model := self._by_name.get(key):
            return NamedModel(model, name)
        for suffix in SUFFIXES:
            if key.endswith(suffix) and (model := self._by_name.get(key.removesuffix(suffix))):
                return NamedModel(model, name, suffix)
        shown = name if len(name) <= 80 else name[:80] + "…"
        raise RequestError(
            "unknown_model", f"The model {shown!r} is not served here. There is: {self._listed()}.", param="model"
        )

    def first(self) -> NamedModel:
        """The model of routes that name none."""
        return NamedModel(self._models[0], self._models[0].name)

    def _listed(self) -> str:
        return ", ".join(model.name for model in self._models)
