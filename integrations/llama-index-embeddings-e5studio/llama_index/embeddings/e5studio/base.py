"""E5Embedding: LlamaIndex's `BaseEmbedding` over an `Embedder` of E5 Studio.

It names the options, and replaces what LlamaIndex's base class does wrongly for E5: the cache's
keys, which name neither prompt nor model. Prompts, length, order and precision are the core's.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import llama_index.core.instrumentation as instrument
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import BaseNode
from llama_index.embeddings.e5studio import cache, empty_nodes

from e5studio import Embedder, EmbedderOptions, EncodeReport
from e5studio.backends import BackendName, DType
from e5studio.embedder import LongDocuments
from e5studio.errors import TextError, TextTypeError
from e5studio.foreign_options import what_instead
from e5studio.models import PromptKind
from e5studio.prompts import PromptName
from e5studio.text_checks import as_texts, checked_types

dispatcher = instrument.get_dispatcher(__name__)  # type: ignore[attr-defined]  # it is documented

_OPTIONS = [field.name for field in fields(EmbedderOptions) if field.name not in ("model", "on_empty")]
_OF_ONE_MODEL = {"path", "revision", "prompt_kind"}  # these options belong to one model
# Their overrides below get a span of their own; with the wrapped ones each call would have two.
_get_batch: Callable[..., list[Embedding]] = inspect.unwrap(BaseEmbedding.get_text_embedding_batch)
_aget_batch: Callable[..., Awaitable[list[Embedding]]] = inspect.unwrap(BaseEmbedding.aget_text_embedding_batch)


_PathText = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)]


class E5Embedding(BaseEmbedding):
    """Embeddings of the E5 family, used exactly as the model cards say.

    Examples:
        `pip install . ./integrations/llama-index-embeddings-e5studio` in E5 Studio's folder (`pip install
        llama-index-embeddings-e5studio` once it is on PyPI)

        ```python
        from llama_index.core import Settings
        from llama_index.embeddings.e5studio import E5Embedding

        Settings.embed_model = E5Embedding(model_name="intfloat/multilingual-e5-small")
        ```

    The model is loaded here, and shared with everything in the process that asks for the same
    one. Options of the model can't be changed afterwards; make another object, it costs next to nothing.

    `embeddings_cache` keeps vectors under a key made of fingerprint, prompt and text. LlamaIndex's own
    key is the text alone, and gives a query the vector of a passage, or of another model; entries under
    such keys are neither read nor written.

    Raises:
        e5studio.E5StudioError: The model or an option is not available here; the message is a
            sentence for a person.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        protected_namespaces=("pydantic_model_",),
        use_attribute_docstrings=True,
    )

    model_name: _PathText = Field(frozen=True)
    """A model of E5 Studio's table ("intfloat/e5-small-v2", or "e5-small-v2"), another Hub id, or a local folder."""
    path: _PathText | None = Field(default=None, frozen=True)
    """Folder of the files, where `model_name` is a name."""
    prompt_kind: PromptKind | None = Field(default=None, frozen=True)
    """For a model outside the table: "query_passage" (query: / passage:), "instruct" or "none"."""
    instruction: str | None = Field(default=None, frozen=True)
    """What the queries are for, in one sentence, on instruct models; the card's web search if None, with a warning."""
    symmetric: bool = Field(default=False, frozen=True)
    """Embed texts as queries too, as the cards ask for similarity, clustering and classification."""
    long_documents: LongDocuments = Field(default="truncate", frozen=True)
    """A text that the model can't read whole: "truncate" reads its beginning and warns; "chunk-and-pool" embeds
    parts that fit and takes the mean of their vectors, weighted by tokens."""
    on_empty: Literal["error", "skip", "zero"] = Field(default="error", frozen=True)
    """A text of which the model reads nothing: "error" refuses it, by its node in a pipeline; "skip" leaves its node
    out of what a pipeline returns, and warns (where texts alone are given, each needs a vector, and it is an error);
    "zero" gives it a vector of zeros and warns."""
    cache_folder: _PathText | None = Field(default=None, frozen=True)
    """Store vectors in this folder, and compute each text once; models, prompts and settings may share it."""
    backend: BackendName = Field(default="auto", frozen=True)
    """What computes."""
    device: str = Field(default="auto", frozen=True)
    """"cpu", "cuda", "cuda:1", "mps", or the best that is there."""
    dtype: DType = Field(default="auto", frozen=True)
    """Precision; "auto" is float32 everywhere."""
    revision: str | None = Field(default=None, frozen=True)
    """Commit, tag or branch in place of the pinned one."""
    max_tokens: int | None = Field(default=None, frozen=True)
    """Tokens read of a text, prompt and special tokens counted; the card's number if None."""
    truncate_dim: int | None = Field(default=None, frozen=True)
    """Keep the first so many dimensions. E5 was not trained for it; it costs quality."""
    token_budget: int | None = Field(default=None, frozen=True)
    """Tokens of a batch, padding counted; the backend's own number if None."""
    local_files_only: bool = Field(default=False, frozen=True)
    """Never download."""
    show_progress: bool | None = Field(default=None, frozen=True)
    """A bar on stderr for long work; None shows it on a terminal only."""
    fingerprint: str | None = Field(default=None, frozen=True)
    """The identity of the texts' vectors: model, revision, length, precision, dimensions, and `symmetric` and
    `long_documents` where they matter. Given, it is checked: a model that gives other vectors is refused. `to_dict`
    writes it, so that `from_dict` can't restore another model."""
    embeddings_cache: Any | None = Field(default=None, exclude=True)
    """A `BaseKVStore` for vectors that were computed before; its keys are safe, see above."""
    embed_batch_size: int = Field(default=2048, gt=0, le=2048)
    """Texts that LlamaIndex hands over at a time, an event each. It costs no memory: batches for the model are made
    below it, by length, so small numbers only slow things down."""

    _embedder: Embedder = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _refuse_foreign(cls, options: Any) -> Any:
        own = set(cls.model_fields)
        given = options if isinstance(options, Mapping) else {}
        foreign = [name for name in given if name not in own and name != "class_name"]
        if foreign:
            raise ValueError(" ".join(what_instead(name, own) for name in foreign))
        return options

    if not TYPE_CHECKING:  # checkers and editors see the arguments that pydantic makes of the fields

        def __init__(self, **options: Any) -> None:
            """Load the model, or share it where it is loaded."""
            super().__init__(**options)  # what follows is outside, where pydantic doesn't wrap errors in its own
            chosen = {name: getattr(self, name) for name in _OPTIONS}
            on_empty = "zero" if self.on_empty == "zero" else "error"
            given = EmbedderOptions(model=self.model_name, on_empty=on_empty, **chosen)
            self._embedder = Embedder(given, fingerprint=self.fingerprint)
            # "auto" is replaced, so that to_dict says what these vectors are made with.
            resolved = {name: getattr(self._embedder.options, name) for name in _OPTIONS}
            used = str(self._embedder.options.model)  # perhaps the 4-bit weights of what was asked for
            self.__dict__.update(resolved, model_name=used, fingerprint=self._embedder.fingerprint)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex stores this class."""
        return "E5Embedding"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another object with some options changed; pydantic's own would keep the old model."""
        options = {name: getattr(self, name) for name in self.model_fields_set}
        if update and not update.keys().isdisjoint(["model_name", *_OPTIONS]):
            options.pop("fingerprint", None)  # it stands for the old ones
        if update and "model_name" in update:
            for name in _OF_ONE_MODEL:
                options.pop(name, None)
            if options.get("max_tokens") == self._embedder.encoder.meta.max_tokens:
                options.pop("max_tokens")  # the card's number, which another card may not allow
        return type(self)(**{**options, **(update or {})})

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed the nodes of a pipeline.

        Raises:
            e5studio.TextError: Some are empty, and `on_empty` is "error"; the message names them.
        """
        left = list(nodes)
        while True:
            try:
                super().__call__(left, **kwargs)
            except TextError as error:
                left = self._without_empty(left, error)
            else:
                return empty_nodes.warned_of(nodes, left)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """As a call."""
        left = list(nodes)
        while True:
            try:
                await super().acall(left, **kwargs)
            except TextError as error:
                left = self._without_empty(left, error)
            else:
                return empty_nodes.warned_of(nodes, left)

    def _without_empty(self, nodes: list[BaseNode], error: TextError) -> list[BaseNode]:
        if isinstance(error, TextTypeError) or not error.indices:
            raise error
        if self.on_empty != "skip":
            raise empty_nodes.refusal(nodes, error) from error
        empty = set(error.indices)
        return [node for index, node in enumerate(nodes) if index not in empty]

    def count_tokens(self, text: str) -> int:
        """Tokens of a text without prompt and special tokens."""
        return self._embedder.count_tokens(text)

    def tokenize(self, text: str) -> list[str]:
        """The tokens that `count_tokens` counts: a splitter's `tokenizer`."""
        return self._embedder.tokenize(text)

    def max_text_tokens(self, prompt_name: PromptName = "document") -> int:
        """Tokens that fit beside a prompt: a splitter's `chunk_size`."""
        return self._embedder.max_text_tokens(prompt_name)

    def report(self, texts: list[str], prompt_name: PromptName = "document") -> EncodeReport:
        """What embedding would do to texts: the prompt, their tokens, what is cut off. Runs no model."""
        return self._embedder.report(texts, prompt_name)

    def get_query_embedding(self, query: str) -> Embedding:
        """Embed a query, with the query prompt or the instruction in front.

        Raises:
            e5studio.TextError: It is empty or no string.
        """
        return self._get_one(query, "query")

    async def aget_query_embedding(self, query: str) -> Embedding:
        """As `get_query_embedding`, in a thread that does not queue behind texts."""
        return await self._aget_one(query, "query")

    def get_text_embedding(self, text: str) -> Embedding:
        """Embed a text, with the document prompt in front; errors as `get_query_embedding`."""
        return self._get_one(text, "document")

    async def aget_text_embedding(self, text: str) -> Embedding:
        """As `get_text_embedding`, in a thread."""
        return await self._aget_one(text, "document")

    def get_text_embedding_batch(self, texts: list[str], show_progress: bool = False, **kwargs: Any) -> list[Embedding]:
        """Embed texts, `embed_batch_size` of them at a time.

        Raises:
            e5studio.TextError: Some are empty or no strings; the message and `indices` say which. None is embedded.
        """
        texts = self._checked(texts, "document")
        with self._counted_from_the_first(texts):
            return _get_batch(self, texts, show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """As `get_text_embedding_batch`, in threads; cancelling it ends the work."""
        texts = self._checked(texts, "document")
        with self._counted_from_the_first(texts):
            return await _aget_batch(self, texts, show_progress, **kwargs)

    def _checked(self, texts: list[str], prompt_name: PromptName) -> list[str]:
        is_empty_allowed = prompt_name == "document" and self.on_empty == "zero"
        return checked_types(texts) if is_empty_allowed else as_texts(texts)

    @contextmanager
    def _counted_from_the_first(self, texts: list[str]) -> Iterator[None]:
        """An error of one of LlamaIndex's batches as one of all texts."""
        try:
            yield
        except TextError:
            self._embedder.report(texts)  # which raises it
            raise

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed(texts, "document")

    def _get_text_embeddings_cached(self, texts: list[str]) -> list[Embedding]:
        keys = self._keys(texts, "document")
        vectors = cache.read(self.embeddings_cache, keys)
        missing = cache.missing(texts, keys, vectors)
        if missing:
            computed = dict(zip(missing, self._get_text_embeddings(list(missing.values())), strict=True))
            cache.write(self.embeddings_cache, computed)
            vectors |= computed
        return [vectors[key] for key in keys]

    async def _aget_text_embeddings_cached(self, texts: list[str]) -> list[Embedding]:
        keys = self._keys(texts, "document")
        vectors = await cache.aread(self.embeddings_cache, keys)
        missing = cache.missing(texts, keys, vectors)
        if missing:
            rows = await self._aget_text_embeddings_rate_limited(list(missing.values()))
            computed = dict(zip(missing, rows, strict=True))
            await cache.awrite(self.embeddings_cache, computed)
            vectors |= computed
        return [vectors[key] for key in keys]

    def _get_one(self, text: str, prompt_name: PromptName) -> Embedding:
        with self._observed(text) as observe:
            [key] = self._keys(self._checked([text], prompt_name), prompt_name)
            vector = cache.read(self.embeddings_cache, [key]).get(key)
            if vector is None:
                if self.rate_limiter is not None:
                    self.rate_limiter.acquire()
                vector = self._get_query_embedding(text) if prompt_name == "query" else self._get_text_embedding(text)
                cache.write(self.embeddings_cache, {key: vector})
            observe(vector)
        return vector

    async def _aget_one(self, text: str, prompt_name: PromptName) -> Embedding:
        with self._observed(text) as observe:
            [key] = self._keys(self._checked([text], prompt_name), prompt_name)
            vector = (await cache.aread(self.embeddings_cache, [key])).get(key)
            if vector is None:
                if self.rate_limiter is not None:
                    await self.rate_limiter.async_acquire()
                is_query = prompt_name == "query"
                vector = await (self._aget_query_embedding(text) if is_query else self._aget_text_embedding(text))
                await cache.awrite(self.embeddings_cache, {key: vector})
            observe(vector)
        return vector

    @contextmanager
    def _observed(self, text: str) -> Iterator[Callable[[Embedding], None]]:
        """Send the events of one text's embedding as the base class does; the yielded function takes the vector."""
        payload = self.to_payload()
        vectors: list[Embedding] = []
        dispatcher.event(EmbeddingStartEvent(model_dict=payload))
        with self.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}) as event:
            yield vectors.append
            event.on_end(payload={EventPayload.CHUNKS: [text], EventPayload.EMBEDDINGS: vectors})
        dispatcher.event(EmbeddingEndEvent(chunks=[text], embeddings=vectors))

    def _keys(self, texts: list[str], prompt_name: PromptName) -> list[str]:
        return [key.hex() for key in self._embedder.vector_keys(texts, prompt_name)]

    def _embed(self, texts: list[str], prompt_name: PromptName) -> list[Embedding]:
        vectors: list[Embedding] = self._embedder.embed(texts, prompt_name).tolist()
        return vectors

    async def _aembed(self, texts: list[str], prompt_name: PromptName) -> list[Embedding]:
        vectors: list[Embedding] = (await self._embedder.aembed(texts, prompt_name)).tolist()
        return vectors


RECOGNIZED_EMBEDDINGS[E5Embedding.class_name()] = E5Embedding
