"""The seam: what a backend takes and gives.

Everything above it (prompts, tokens, order, normalisation, dimensions) is written once.
Everything below (padding, masks, position ids, devices, pooling) is the backend's own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from e5studio.batching import Limits, TokenBatch
from e5studio.errors import OutOfMemoryError
from e5studio.memory import is_out_of_memory
from e5studio.similarity import FloatArray

BackendName = Literal["auto", "torch", "openvino", "onnx"]
DType = Literal["auto", "float32", "bfloat16", "float16", "int8"]


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do besides embedding.

    Attributes:
        token_embeddings: Whether it can give the vectors of single tokens.
    """

    token_embeddings: bool


class Backend(Protocol):
    """A loaded model. Methods may be called from several threads at once."""

    name: str
    device: str
    dtype: str
    quantization: str | None  # what else decides the vectors: how an int8 model was made
    graph: str | None  # and the digest of a repository's own graph, where it is used in place of the weights
    n_bytes: int
    limits: Limits
    capabilities: Capabilities

    def embed(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Pooled vectors of each batch, (rows, embed_dim) float32, not normalised, in order."""
        ...

    def token_embeddings(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Token vectors of each batch, (sum of lengths, embed_dim) float32, in order."""
        ...

    def close(self) -> None:
        """Free the model; later calls fail."""
        ...


class BatchwiseBackend(ABC):
    """The part of a `Backend` that runs one batch at a time and gives token vectors as well."""

    capabilities: ClassVar = Capabilities(token_embeddings=True)
    device: str
    graph: str | None = None

    def embed(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Pooled vectors of each batch, (rows, embed_dim) float32."""
        return (self._run_in_memory(batch, token_vectors=False) for batch in batches)

    def token_embeddings(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        """Token vectors of each batch, (sum of lengths, embed_dim) float32."""
        return (self._run_in_memory(batch, token_vectors=True) for batch in batches)

    def _run_in_memory(self, batch: TokenBatch, *, token_vectors: bool) -> FloatArray:
        """The vectors of a batch, computed in halves where it takes more memory than there is."""
        try:
            return self._run(batch, token_vectors=token_vectors)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise OutOfMemoryError(
                    f"A text of {batch.lengths[0]} tokens does not fit into the memory of {self.device}.",
                    "Take a smaller model, fewer max_tokens, or dtype='bfloat16'.",
                ) from error
        self._free_memory()
        half = len(batch) // 2
        parts = (range(half), range(half, len(batch)))
        return np.concatenate([self._run_in_memory(batch.select(part), token_vectors=token_vectors) for part in parts])

    def _free_memory(self) -> None:  # noqa: B027 - most have none to free
        """Give back what is kept for later batches."""

    @abstractmethod
    def _run(self, batch: TokenBatch, *, token_vectors: bool) -> FloatArray: ...
