"""LanceDB's embedding function over an `Embedder`, in LanceDB's registry under the name "e5studio".

A table stores the function's options with the fingerprint of its vectors. A program that opens it imports this module;
LanceDB builds the same function again, and E5 Studio refuses a model that gives other vectors.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import ConfigDict, PrivateAttr

from e5studio.adapters.embedder_options import embedder_options, stored_embedder
from e5studio.embedder import Embedder, EmbedderOptions
from e5studio.errors import MissingDependencyError, TextError, TextTypeError

try:
    from lancedb.embeddings import TextEmbeddingFunction
    from lancedb.embeddings.registry import register
except ImportError as error:
    raise MissingDependencyError("This adapter needs LanceDB.", "Install it with: pip install lancedb") from error


@register("e5studio")
class E5EmbeddingFunction(TextEmbeddingFunction):
    """Embeds the source column of a LanceDB table, and queries; `get_registry().get("e5studio").create(...)` makes one.

    It takes the options of `EmbedderOptions` by name (device, backend, dtype, instruction, ...). The model is loaded
    when it is first needed, and shared within the process. A null or empty text has no vector: LanceDB's
    `on_bad_vectors` decides what becomes of its row.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=(), use_attribute_docstrings=True)

    name: str
    """A model of the table, another Hub id, or a local folder."""
    fingerprint: str | None = None
    """Of vectors that exist already; a model that gives others is refused."""

    _options: EmbedderOptions = PrivateAttr()
    _embedder: Embedder | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Refuse options that don't exist."""
        super().model_post_init(context)
        self._options = embedder_options(self.name, **(self.model_extra or {}))

    @property
    def embedder(self) -> Embedder:
        """What computes the vectors."""
        if self._embedder is None:
            self._embedder = stored_embedder(self._options, self.fingerprint)
        return self._embedder

    def ndims(self) -> int:
        """Length of a vector."""
        return self.embedder.encoder.spec.embed_dim

    def safe_model_dump(self) -> dict[str, Any]:
        """What the vectors are made with, for the table to store."""
        options = asdict(self.embedder.options)
        return {"name": options.pop("model"), "fingerprint": self.embedder.fingerprint, **options}

    def generate_embeddings(self, texts: list[str | None]) -> list[Any]:
        """Embed texts of the source column; null and empty ones get None."""
        readable = {row: text for row, text in enumerate(texts) if text is not None}
        while True:
            try:
                vectors = self.embedder.embed(list(readable.values()), "document")
                break
            except TextTypeError:
                raise
            except TextError as error:
                unread = [row for index, row in enumerate(readable) if index in error.indices]
                readable = {row: text for row, text in readable.items() if row not in unread}
        by_row = dict(zip(readable, vectors, strict=True))
        return [by_row.get(row) for row in range(len(texts))]

    def compute_source_embeddings_with_retry(self, texts: Any) -> list[Any]:
        """Embed the source column; nothing is tried again, since the same texts fail in the same way."""
        return self.generate_embeddings(list(self.sanitize_input(texts)))

    def compute_query_embeddings_with_retry(self, query: str) -> list[Any]:
        """Embed a query."""
        return list(self.embedder.embed([query], "query"))

    def compute_query_embeddings(self, query: str) -> list[Any]:
        """As `compute_query_embeddings_with_retry`."""
        return self.compute_query_embeddings_with_retry(query)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, E5EmbeddingFunction) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[EmbedderOptions, str | None]:
        return self._options, self.fingerprint
