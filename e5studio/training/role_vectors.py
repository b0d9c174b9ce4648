"""Vectors of both sides of the pairs, each under the prompt of its role."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e5studio.cache import CachedEncoder, VectorCache
from e5studio.encoder import E5Encoder, Progress
from e5studio.evaluation.work import Work
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.training.examples import Example
from e5studio.training.roles import RolePrompts

_BLOCK_TEXTS = 4096


class RoleVectors:
    """Embeds queries and documents through a cache, and counts the work.

    Args:
        encoder: The model.
        prompts: By role.
        cache: Of vectors.

    Attributes:
        work: Texts, tokens and seconds so far.
    """

    def __init__(self, encoder: E5Encoder, prompts: RolePrompts, cache: VectorCache) -> None:
        self._encoder = CachedEncoder(encoder.with_options(show_progress=False), cache)
        self._prompts = prompts
        self.work = Work()

    def of_documents(self, documents: Sequence[str], on_progress: Progress | None = None) -> FloatArray:
        """A row for each document.

        Args:
            documents: Their texts.
            on_progress: Called with the number of texts embedded and of all.
        """
        blocks = []
        for start in range(0, len(documents), _BLOCK_TEXTS):
            tell = None if on_progress is None else _behind(start, len(documents), on_progress)
            blocks.append(self._embed(documents[start : start + _BLOCK_TEXTS], self._prompts.document, tell))
        return np.concatenate(blocks)

    def of_queries(self, examples: Sequence[Example]) -> FloatArray:
        """A row for each query, under the prompt of its instruction."""
        rows: dict[int, FloatArray] = {}
        for instruction in dict.fromkeys(example.instruction for example in examples):
            chosen = [row for row, example in enumerate(examples) if example.instruction == instruction]
            vectors = self._embed([examples[row].query for row in chosen], self._prompts.query(instruction))
            rows.update(zip(chosen, vectors, strict=True))
        return np.stack([rows[row] for row in range(len(examples))])

    def _embed(self, texts: Sequence[str], prompt: Prompt, on_progress: Progress | None = None) -> FloatArray:
        with self.work.timed("tokenising"):
            prepared = self._encoder.encoder.prepare(texts, prompt=prompt)
        with self.work.timed("embedding"):
            vectors = self._encoder.embed_prepared(prepared, texts, on_progress=on_progress)
        self.work.count(prepared, texts)
        return vectors


def _behind(n_before: int, total: int, on_progress: Progress) -> Progress:
    """Tells of a block as of a part of all texts."""
    return lambda done, _: on_progress(n_before + done, total)
