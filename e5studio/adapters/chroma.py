"""Chroma's `EmbeddingFunction` over an `Embedder`: documents and queries get their own prompts.

A collection stores the function's configuration with the fingerprint of its vectors. A program that opens it imports
this module and needs no embedding function: Chroma builds the same one again, or E5 Studio refuses another.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Unpack

from e5studio.adapters.embedder_options import EmbedderArguments, embedder_options, stored_embedder
from e5studio.errors import FingerprintMismatchError, MissingDependencyError

try:
    from chromadb import Documents, EmbeddingFunction, Embeddings
    from chromadb.api.types import Space
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise MissingDependencyError("This adapter needs Chroma.", 'Install it with: pip install "chromadb>=1"') from error


@register_embedding_function
class E5EmbeddingFunction(EmbeddingFunction[Documents]):
    """Embeds the documents and the queries of a Chroma collection; the model is shared within the process.

    Args:
        model_name: A model of the table, another Hub id, or a local folder.
        fingerprint: Of vectors that exist already; a model that gives others is refused.
        **options: As `EmbedderOptions` takes them: instruction, device, backend, dtype, cache_folder, ...

    Raises:
        E5StudioError: The model or an option is not available here.
    """

    def __init__(
        self, model_name: str, *, fingerprint: str | None = None, **options: Unpack[EmbedderArguments]
    ) -> None:
        self._embedder = stored_embedder(embedder_options(model_name, **options), fingerprint)

    def __call__(self, input: Documents) -> Embeddings:
        """Embed documents; Chroma calls it for what is added."""
        return list(self._embedder.embed(input, "document"))

    def embed_query(self, input: Documents) -> Embeddings:
        """Embed queries."""
        return list(self._embedder.embed(input, "query"))

    @staticmethod
    def name() -> str:
        """The name under which Chroma stores this class."""
        return "e5studio"

    def default_space(self) -> Space:
        """How Chroma compares the vectors: by cosine, as the model cards do."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """What the vectors are made with, for the collection to store."""
        options = asdict(self._embedder.options)
        del options["cache_folder"]  # of this machine
        return {"model_name": options.pop("model"), "fingerprint": self._embedder.fingerprint, **options}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> E5EmbeddingFunction:
        """The function that a collection's configuration describes; the collection may be a stranger's."""
        if not config.get("fingerprint") or config.get("cache_folder"):
            raise FingerprintMismatchError(
                "This configuration was not stored by E5 Studio: it has no fingerprint, or names a folder to write to.",
                "Open the collection with the embedding_function that made it.",
            )
        return E5EmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse another function for the vectors that are stored.

        Raises:
            FingerprintMismatchError: It gives other vectors.
        """
        if old_config["fingerprint"] != new_config["fingerprint"]:
            raise FingerprintMismatchError(
                f"The collection's vectors were made by {old_config['model_name']}, and {new_config['model_name']} "
                "with these options gives others.",
                "Make another collection, and add the documents to it.",
            )
