"""Haystack's two embedders over an `Embedder`: queries and documents get their own prompts.

They share one model within the process. A pipeline stores their options; `warm_up`, or the first run, loads the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, Unpack

from e5studio.adapters.embedder_options import EmbedderArguments, embedder_options
from e5studio.embedder import Embedder
from e5studio.errors import MissingDependencyError, TextError, TextTypeError
from e5studio.similarity import FloatArray

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise MissingDependencyError("This adapter needs Haystack.", "Install it with: pip install haystack-ai") from error


class _Component:
    """What both embedders have in common: options, loading, serialisation."""

    def __init__(self, model: str, **options: Unpack[EmbedderArguments]) -> None:
        self._options = embedder_options(model, **options)
        self._init_parameters = {name: getattr(self._options, name) for name in ("model", *options)}
        self._embedder: Embedder | None = None

    @property
    def embedder(self) -> Embedder:
        """What computes the vectors."""
        if self._embedder is None:
            self._embedder = Embedder(self._options)
        return self._embedder

    def warm_up(self) -> None:
        """Load the model, or share it where it is loaded."""
        _ = self.embedder

    def to_dict(self) -> dict[str, Any]:
        """The class and its options, for a pipeline to store."""
        data: dict[str, Any] = default_to_dict(self, **self._init_parameters)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component that `to_dict` described."""
        built: Self = default_from_dict(cls, data)
        return built


@component
class E5TextEmbedder(_Component):
    """Embeds a query, in place of `SentenceTransformersTextEmbedder`.

    Args:
        model: A model of the table, another Hub id, or a local folder.
        **options: As `EmbedderOptions` takes them: instruction, device, backend, dtype, cache_folder, ...
    """

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a query.

        Returns:
            "embedding": its vector, of length 1.
        """
        [vector] = self.embedder.embed(_one_text(text), "query")
        return {"embedding": vector.tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """As `run`, in a thread."""
        await asyncio.to_thread(self.warm_up)
        [vector] = await self.embedder.aembed(_one_text(text), "query")
        return {"embedding": vector.tolist()}


@component
class E5DocumentEmbedder(_Component):
    """Embeds documents, in place of `SentenceTransformersDocumentEmbedder`.

    Args:
        model: A model of the table, another Hub id, or a local folder.
        meta_fields_to_embed: Put these fields of a document, such as its title, in front of its text.
        embedding_separator: Between these fields and the text; a space, as E5 was trained with titles.
        **options: As `EmbedderOptions` takes them: device, backend, dtype, cache_folder, long_documents, ...
    """

    def __init__(
        self,
        model: str,
        *,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = " ",
        **options: Unpack[EmbedderArguments],
    ) -> None:
        _Component.__init__(self, model, **options)  # `component` makes another class, which super() does not know
        self._fields, self._separator = list(meta_fields_to_embed), embedding_separator
        self._init_parameters |= {"meta_fields_to_embed": self._fields, "embedding_separator": self._separator}

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents.

        Returns:
            "documents": copies of them with their vectors, of length 1.

        Raises:
            TextError: Some have no text; the message has their ids.
        """
        texts = self._texts(documents)
        with _naming(documents):
            vectors = self.embedder.embed(texts, "document")
        return {"documents": _with_vectors(documents, vectors)}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """As `run`, in a thread; cancelling it ends the work."""
        texts = self._texts(documents)
        await asyncio.to_thread(self.warm_up)
        with _naming(documents):
            vectors = await self.embedder.aembed(texts, "document")
        return {"documents": _with_vectors(documents, vectors)}

    def _texts(self, documents: list[Document]) -> list[str]:
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise TextTypeError("Expected a list of Documents. E5TextEmbedder embeds a text.")
        parts = [[document.meta.get(field) for field in self._fields] + [document.content] for document in documents]
        return [self._separator.join(str(part) for part in row if part is not None) for row in parts]


def _one_text(text: str) -> list[str]:
    if not isinstance(text, str):
        raise TextTypeError(f"Expected a text, got {type(text).__name__}. E5DocumentEmbedder embeds documents.")
    return [text]


@contextmanager
def _naming(documents: list[Document]) -> Iterator[None]:
    """Name documents that have no text by their ids."""
    try:
        yield
    except TextError as error:
        ids = ", ".join(documents[index].id for index in error.indices[:5])
        more = ", ..." if len(error.indices) > 5 else ""
        raise TextError(f"{error} The ids of these documents: {ids}{more}.", error.indices) from error


def _with_vectors(documents: list[Document], vectors: FloatArray) -> list[Document]:
    rows: list[list[float]] = vectors.tolist()
    return [replace(document, embedding=row) for document, row in zip(documents, rows, strict=True)]
