"""E5Embeddings: LangChain's `Embeddings` over an `Embedder` of E5 Studio.

It names the options, turns arrays into lists of floats, and does nothing else: prompts, length,
order and precision are the core's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from e5studio import Embedder, EmbedderOptions, EncodeReport
from e5studio.backends import BackendName, DType
from e5studio.embedder import LongDocuments, OnEmpty
from e5studio.foreign_options import what_instead
from e5studio.models import PromptKind
from e5studio.prompts import PromptName
from e5studio.similarity import FloatArray

_PathText = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)]
_OF_ONE_MODEL = {"path", "revision", "prompt_kind"}  # these options belong to one model


class E5Embeddings(BaseModel, Embeddings):
    """Embeddings of the E5 family, used exactly as the model cards say.

    Setup:
        `pip install . ./integrations/langchain-e5studio` in E5 Studio's folder (`pip install langchain-e5studio` once
        it is on PyPI)

    Instantiate:
        ```python
        from langchain_e5studio import E5Embeddings

        embeddings = E5Embeddings(model="intfloat/multilingual-e5-small")
        ```

    Embed a query, which gets the query prompt or the instruction:
        ```python
        embeddings.embed_query("how much protein should a female eat")
        ```

    Embed documents, which get the document prompt where the model has one:
        ```python
        embeddings.embed_documents(["46 grams a day is the average requirement."])
        ```

    Async:
        ```python
        await embeddings.aembed_query("how much protein should a female eat")
        ```

    The model is loaded here, and shared with everything in the process that asks for the same
    one. Options can't be changed afterwards; make another object, it costs next to nothing.

    Raises:
        e5studio.E5StudioError: The model or an option is not available here; the message is a
            sentence for a person.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), use_attribute_docstrings=True
    )

    model_name: _PathText = Field(alias="model")
    """A model of E5 Studio's table ("intfloat/e5-small-v2", or "e5-small-v2"), another Hub id, or a local folder."""
    path: _PathText | None = None
    """Folder of the files, where `model` is a name."""
    prompt_kind: PromptKind | None = None
    """For a model outside the table: "query_passage" (query: / passage:), "instruct" or "none"."""
    instruction: str | None = None
    """What the queries are for, in one sentence, on instruct models; the card's web search if None, with a warning."""
    symmetric: bool = False
    """Embed documents as queries too, as the cards ask for similarity, clustering and classification."""
    long_documents: LongDocuments = "truncate"
    """A document that the model can't read whole: "truncate" reads its beginning and warns; "chunk-and-pool" embeds
    parts that fit and takes the mean of their vectors, weighted by tokens."""
    on_empty: OnEmpty = "error"
    """A document of which the model reads nothing: "error" refuses it, "zero" gives it a vector of zeros and warns. It
    can't be left out, for LangChain wants a vector for each text."""
    cache_folder: _PathText | None = None
    """Store vectors in this folder, and compute each text once; models, prompts and settings may share it."""
    backend: BackendName = "auto"
    """What computes."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1", "mps", or the best that is there."""
    dtype: DType = "auto"
    """Precision; "auto" is float32 everywhere."""
    revision: str | None = None
    """Commit, tag or branch in place of the pinned one."""
    max_tokens: int | None = None
    """Tokens read of a text, prompt and special tokens counted; the card's number if None."""
    truncate_dim: int | None = None
    """Keep the first so many dimensions. E5 was not trained for it; it costs quality."""
    token_budget: int | None = None
    """Tokens of a batch, padding counted; the backend's own number if None."""
    local_files_only: bool = False
    """Never download."""
    show_progress: bool | None = None
    """A bar on stderr for long work; None shows it on a terminal only."""

    _embedder: Embedder = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _refuse_foreign(cls, options: Any) -> Any:
        own = set(cls.model_fields) - {"model_name"} | {"model"}
        given = options if isinstance(options, Mapping) else {}
        foreign = [name for name in given if name not in own and name != "model_name"]
        if foreign:
            raise ValueError(" ".join(what_instead(name, own) for name in foreign))
        return options

    if not TYPE_CHECKING:  # checkers and editors see the arguments that pydantic makes of the fields

        def __init__(self, **options: Any) -> None:
            """Load the model, or share it where it is loaded."""
            super().__init__(**options)  # what follows is outside, where pydantic doesn't wrap errors in its own
            chosen = self.model_dump(exclude={"model_name"})
            self._embedder = Embedder(EmbedderOptions(model=self.model_name, **chosen))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another object with some options changed; pydantic's own would keep the old model."""
        changes = dict(update or {})
        if "model" in changes:
            changes["model_name"] = changes.pop("model")
        unchanged = self.model_dump(exclude=_OF_ONE_MODEL if "model_name" in changes else None)
        return type(self)(**{**unchanged, **changes})

    @property
    def model(self) -> str:
        """As `model_name`."""
        return self.model_name

    def embed_documents(self, texts: list[str], *, titles: list[str | None] | None = None) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The documents, best all at once: they are sorted by length and batched here.
            titles: A title for each, None where there is none; it is put in front with a space, as E5 was trained.

        Returns:
            A vector for each, of length 1, in their order.

        Raises:
            e5studio.TextError: Some are empty (see `on_empty`) or no strings; the message and `indices` say which.
        """
        return _floats(self._embedder.embed(texts, "document", titles=titles))

    def embed_query(self, text: str) -> list[float]:
        """Embed a query; errors as `embed_documents`.

        Returns:
            A vector of length 1.
        """
        return _floats(self._embedder.embed([text], "query"))[0]

    async def aembed_documents(self, texts: list[str], *, titles: list[str | None] | None = None) -> list[list[float]]:
        """As `embed_documents`, in a thread; cancelling it ends the work."""
        return _floats(await self._embedder.aembed(texts, "document", titles=titles))

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, in a thread that does not queue behind documents."""
        return _floats(await self._embedder.aembed([text], "query"))[0]

    def count_tokens(self, text: str) -> int:
        """Tokens of a text without prompt and special tokens: a splitter's `length_function`."""
        return self._embedder.count_tokens(text)

    def max_text_tokens(self, prompt_name: PromptName = "document") -> int:
        """Tokens that fit beside a prompt: a splitter's `chunk_size`."""
        return self._embedder.max_text_tokens(prompt_name)

    def report(self, texts: list[str], prompt_name: PromptName = "document") -> EncodeReport:
        """What embedding would do to texts: the prompt, their tokens, what is cut off. Runs no model."""
        return self._embedder.report(texts, prompt_name)

    @property
    def fingerprint(self) -> str:
        """The identity of the documents' vectors; store it beside them.

        Model, revision, length, precision, dimensions, and `symmetric` and `long_documents` where they matter.
        """
        return self._embedder.fingerprint


def _floats(vectors: FloatArray) -> list[list[float]]:
    rows: list[list[float]] = vectors.tolist()
    return rows
