"""The request behind the Score button, and its result."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from e5studio.analysis.clusters import Clusters, find_clusters
from e5studio.backends import BackendName, DType
from e5studio.encode_report import EncodeReport
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec
from e5studio.studio.engine.prompt_modes import PromptMode
from e5studio.studio.engine.text_box import Separator, TextList


@dataclass(frozen=True)
class ScoreRequest:
    """The form's values when Score is pressed."""

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
        prompt_mode: The prompt mode, a valid one of the model.
        queries: Rows.
        passages: Columns; the rows again if `is_self`.
        is_self: Whether the texts were compared with each other.
        scores: Cosine x 100, shape (n_queries, n_passages).
        best: For each query the position of its best passage (never the text itself).
        vectors: Queries, then passages (unless `is_self`), shape (n, embed_dim).
        reports: How the model read queries and passages.
        spec: The encoder, with every "auto" resolved.
        n_embedded: Number of texts that were embedded; the other vectors come from an earlier result.
        seconds: Time it took, without loading the model.
        key: A key of its own, so that nothing is shown beside it that was computed for another result. The same texts
            scored again have the same key: what is shown of them stays.
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
        """The encoder's fingerprint: vectors of other encoders must not be mixed with these."""
        return self.spec.fingerprint

    @property
    def counted(self) -> FloatArray:
        """The scores, NaN where a text meets itself."""
        scores = self.scores.copy()
        if self.is_self:
            np.fill_diagonal(scores, np.nan)
        return scores

    def has_pair(self, row: int, column: int) -> bool:
        """Whether there is such a cell, and it does not compare a text with itself."""
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


@dataclass(frozen=True)
class EmbeddedLists:
    """The vectors of lists of texts.

    Attributes:
        vectors: Of each list, a row a text.
        reports: On the texts of each list.
        spec: Of the encoder.
        seconds: Spent waiting, tokenising, and computing.
    """

    vectors: list[FloatArray]
    reports: tuple[EncodeReport, ...]
    spec: EncoderSpec
    seconds: Sequence[float]


def best_passages(scores: FloatArray, is_self: bool) -> tuple[int | None, ...]:
    """The highest column of each row; where texts meet themselves, the diagonal doesn't count."""
    compared = scores.copy()
    if is_self:
        np.fill_diagonal(compared, -np.inf)
    return tuple(int(column) for column in compared.argmax(axis=1))
