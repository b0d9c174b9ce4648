"""What a visitor asks for when they press Score, and the result."""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.clusters import Clusters, find_clusters
from e5studio.backends import BackendName, DType
from e5studio.encode_report import EncodeReport
from e5studio.models import ModelMeta
from e5studio.spec import EncoderSpec
from e5studio.studio.engine.prompt_modes import PromptMode
from e5studio.studio.engine.text_box import Separator, TextList

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ScoreRequest:
    """What the page holds when Score is pressed."""

    model: str
    prompt_mode: str
    queries: str
    passages: str
    instruction: str = ""
    separator: Separator = "line"
    dtype: DType = "auto"
    backend: BackendName = "auto"


@dataclass(frozen=True)
class ScoreResult:
    """Scores and all that is said of them.

    Attributes:
        request: What the page held.
        meta: The model that made them.
        prompt_mode: How the texts were used.
        queries: Rows.
        passages: Columns; the rows again where `is_self`.
        is_self: The texts were compared with each other.
        scores: Cosine x 100, shape (n_queries, n_passages).
        best: For each query the position of its best passage (never the text itself).
        vectors: Queries, then passages (unless `is_self`), shape (n, embed_dim).
        reports: What the model read of queries and of passages.
        spec: What computed them, with all that was "auto" settled.
        n_embedded: Texts that were embedded for it; the others' vectors were known from the result before.
        seconds: How long it took, without loading the model.
        key: Of this result alone; what was worked out for another must not be shown beside it.
    """

    request: ScoreRequest
    meta: ModelMeta
    prompt_mode: PromptMode
    queries: TextList
    passages: TextList
    is_self: bool
    scores: FloatArray
    best: tuple[int | None, ...]
    vectors: FloatArray
    reports: tuple[EncodeReport, ...]
    spec: EncoderSpec
    n_embedded: int
    seconds: float
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def fingerprint(self) -> str:
        """Of the encoder: vectors of another must not be mixed with these."""
        return self.spec.fingerprint

    @property
    def counted(self) -> FloatArray:
        """The scores, NaN where a text meets itself."""
        scores = self.scores.copy()
        if self.is_self:
            np.fill_diagonal(scores, np.nan)
        return scores

    def has_pair(self, row: int, column: int) -> bool:
        """Whether there is such a cell, and not of a text with itself."""
        is_inside = 0 <= row < len(self.queries) and 0 <= column < len(self.passages)
        return is_inside and not (self.is_self and row == column)

    @functools.cached_property
    def clusters(self) -> Clusters:
        """Groups of the texts by k-means, which takes seconds for hundreds of texts."""
        return find_clusters(self.vectors)

    @property
    def points(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels and texts of the rows of `vectors`."""
        if self.is_self:
            return self.queries.labels, self.queries.texts
        return self.queries.labels + self.passages.labels, self.queries.texts + self.passages.texts


def best_passages(scores: FloatArray, is_self: bool) -> tuple[int | None, ...]:
    """The highest column of each row; where texts meet themselves, the diagonal doesn't count."""
    compared = scores.copy()
    if is_self:
        np.fill_diagonal(compared, -np.inf)
    return tuple(int(column) for column in compared.argmax(axis=1))
