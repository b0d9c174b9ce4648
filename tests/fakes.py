"""Stand-ins for what is slow or cannot be made to fail on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from e5studio.backends import Capabilities, FloatArray
from e5studio.batching import Limits, TokenBatch
from e5studio.encoder import E5Encoder
from tests.checkpoints import Checkpoint

Spoil = Callable[[FloatArray, TokenBatch], FloatArray]


class FakeBackend:
    """A backend whose vectors can be worked out on paper.

    The token with id i at position p (from 1) adds p to component i modulo `embed_dim`. With
    embed_dim 4 the ids 2, 5, 3 give 1 in component 2, 2 in component 1, 3 in component 3: (0, 2, 1, 3).

    Args:
        embed_dim: Length of a vector.
        limits: What a batch may cost.
        spoil: Changes the vectors of a batch before they are returned, to play a fault.
    """

    name = "fake"
    device = "paper"
    dtype = "float32"
    quantization = None
    graph = None
    n_bytes = 0
    capabilities = Capabilities(token_embeddings=False)

    def __init__(self, embed_dim: int, *, limits: Limits | None = None, spoil: Spoil | None = None) -> None:
        self.limits = limits or Limits(token_budget=2048)
        self.seen: list[TokenBatch] = []
        self.is_closed = False
        self._embed_dim = embed_dim
        self._spoil = spoil

    def embed(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        for batch in batches:
            self.seen.append(batch)
            vectors = np.stack([paper_vector(ids, self._embed_dim) for ids in token_rows(batch)])
            yield vectors if self._spoil is None else self._spoil(vectors, batch)

    def token_embeddings(self, batches: Iterable[TokenBatch]) -> Iterator[FloatArray]:
        raise NotImplementedError("capabilities say so")

    def close(self) -> None:
        self.is_closed = True


def encoder_over(checkpoint: Checkpoint, backend: FakeBackend) -> E5Encoder:
    """An encoder with the checkpoint's tokenizer and prompts, and `backend` in place of its weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("e5studio.load.load_backend", lambda *_, **__: backend)
        return E5Encoder(checkpoint.meta, path=checkpoint.folder)


def paper_vector(ids: Iterable[int], embed_dim: int) -> FloatArray:
    """The vector that `FakeBackend` gives for these ids."""
    vector = np.zeros(embed_dim, np.float32)
    for position, token in enumerate(ids, 1):
        vector[token % embed_dim] += position
    return vector


def token_rows(batch: TokenBatch) -> list[list[int]]:
    """The ids of each text of a batch."""
    return [part.tolist() for part in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])]
