"""The same texts scored under two settings, or under every pair of prompts. Knows no Gradio.

It counts differences. Scores alone cannot show which setting is better; where passage n is known to answer query n,
the ranks of the right passages can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.ranking import kendall_tau, leads, ranks, reciprocal_rank_changes, top_k_overlap
from e5studio.models import PromptKind
from e5studio.similarity import FloatArray
from e5studio.similarity import scores as score_matrix
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import prompts_in_front
from e5studio.studio.engine.result import ScoreRequest, ScoreResult, best_passages

Values = NDArray[np.float64]
TOP_K = 3
"""How many passages of each query count as its best."""


@dataclass(frozen=True)
class Comparison:
    """Two results over the same texts.

    Attributes:
        first: Of A, the setting of the form.
        second: Of B.
        is_paired: Passage n is the right one for query n, where both exist.
    """

    first: ScoreResult
    second: ScoreResult
    is_paired: bool = False

    @property
    def counted(self) -> tuple[FloatArray, FloatArray]:
        """Both score matrices; NaN for a text with itself."""
        return self.first.counted, self.second.counted

    @property
    def request(self) -> ScoreRequest:
        """What the form held."""
        return self.first.request

    @property
    def right_ranks(self) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
        """The rank of each query's right passage under both; None where the right passages are unknown."""
        first, second = (_right_ranks(self.first, scores, self.is_paired) for scores in self.counted)
        return None if first is None or second is None else (first, second)

    @property
    def deltas(self) -> FloatArray:
        """The second's scores minus the first's, (n_queries, n_passages), in points of cosine x 100."""
        first, second = self.counted
        deltas: FloatArray = second - first
        return deltas


@dataclass(frozen=True)
class Agreement:
    """How similar the orders of two settings are.

    Attributes:
        n_queries: Number of rows.
        n_same_best: Rows with the same best passage under both.
        taus: Kendall's tau of each row; NaN where it is undefined.
        overlaps: Share of the `k` best that both have, of each row.
        k: How many count as best.
        largest: The largest change of a score, with its sign.
    """

    n_queries: int
    n_same_best: int
    taus: Values
    overlaps: Values
    k: int
    largest: float


def agreement(comparison: Comparison) -> Agreement:
    """How similar the orders of the two settings are."""
    first, second = comparison.counted
    deltas = comparison.deltas
    k = min(TOP_K, first.shape[1] - comparison.first.is_self)
    same = sum(a == b for a, b in zip(comparison.first.best, comparison.second.best, strict=True))
    largest = float(deltas.ravel()[np.nanargmax(np.abs(deltas))])
    return Agreement(len(first), same, kendall_tau(first, second), top_k_overlap(first, second, k), k, largest)


@dataclass(frozen=True)
class Move:
    """One pair under both settings; ranks count within its query."""

    row: int
    column: int
    scores: tuple[float, float]
    ranks: tuple[int, int]


def moves(comparison: Comparison, limit: int) -> list[Move]:
    """The pairs whose rank changes most (by 1 / rank, then by score)."""
    first, second = comparison.counted
    changes = np.nan_to_num(np.abs(reciprocal_rank_changes(first, second)), nan=-1)
    deltas = np.abs(np.nan_to_num(comparison.deltas))
    order = np.lexsort((-deltas.ravel(), -changes.ravel()))
    one, other = ranks(first), ranks(second)
    cells = [divmod(int(index), first.shape[1]) for index in order[:limit]]
    return [
        Move(i, j, (float(first[i, j]), float(second[i, j])), (int(one[i, j]), int(other[i, j])))
        for i, j in cells
        if np.isfinite(first[i, j])
    ]


def most_moved_query(comparison: Comparison) -> int:
    """The row whose order changes most."""
    first, second = comparison.counted
    return int(np.nansum(np.abs(reciprocal_rank_changes(first, second)), axis=1).argmax())


@dataclass(frozen=True)
class Shift:
    """How another setting changes one query.

    Attributes:
        moved: 1 - cosine of its vectors under both, x 100.
        gained: Points by which A's best passage is further ahead of the others under B; negative for a loss.
    """

    moved: float
    gained: float


def shifts(comparison: Comparison) -> list[Shift] | None:
    """How far the vector of each query moves and what it gains; None between two models, whose spaces differ."""
    if comparison.first.meta.name != comparison.second.meta.name:
        return None
    first, second = comparison.counted
    n = len(first)
    cosines = (comparison.first.vectors[:n] * comparison.second.vectors[:n]).sum(axis=1, dtype=np.float64)
    best = [0 if column is None else column for column in comparison.first.best]
    gained = leads(second, best) - leads(first, best)
    return [Shift(100 * float(max(0.0, 1 - cosine)), float(gain)) for cosine, gain in zip(cosines, gained, strict=True)]


def compare(
    engine: Engine,
    first: ScoreRequest,
    second: ScoreRequest,
    on_stage: OnStage | None = None,
    *,
    is_paired: bool = False,
    before: Sequence[ScoreResult] = (),
) -> Comparison:
    """Score the texts under two settings.

    Args:
        engine: Runs the models.
        first: Setting A, with the texts.
        second: Setting B; its texts and separator are not read.
        on_stage: Called with the progress.
        is_paired: Passage n is the right one for query n, where both exist.
        before: The visitor's results so far; texts in one of the same setting are not embedded again.

    Raises:
        E5StudioError: As `Engine.score`.
        StoppedError: `on_stage` asked to stop.
    """
    one = engine.score(first, _named(on_stage, "A"), before=before)
    second = replace(second, queries=first.queries, passages=first.passages, separator=first.separator)
    other = engine.score(second, _named(on_stage, "B"), before=before)
    return Comparison(one, other, is_paired)


PromptChoice = Literal["none", "query", "passage", "instruction"]
PROMPT_NAMES: dict[PromptChoice, str] = {
    "none": "nothing",
    "query": "query prompt",
    "passage": "passage prompt",
    "instruction": "instruction",
}


@dataclass(frozen=True)
class PromptCell:
    """Scores under one pair of prompts.

    Attributes:
        left: Prompt of the queries.
        right: Prompt of the passages.
        is_usual: These are the prompts of the form.
        scores: Cosine x 100, (n_queries, n_passages); NaN for a text with itself.
        n_same_best: Queries with the same best passage as under the prompts of the form.
        lead: How far that passage is ahead of the others, mean over the queries, points of cosine x 100.
        right_ranks: The rank of each query's right passage; None where the right passages are unknown.
    """

    left: PromptChoice
    right: PromptChoice
    is_usual: bool
    scores: FloatArray
    n_same_best: int
    lead: float
    right_ranks: NDArray[np.int32] | None


@dataclass(frozen=True)
class PromptGrid:
    """Scores under every pair of prompts, row by row.

    Attributes:
        usual: The result under the prompts of the form.
        cells: One for each pair; a square number.
    """

    usual: ScoreResult
    cells: tuple[PromptCell, ...]

    @property
    def request(self) -> ScoreRequest:
        """What the form held."""
        return self.usual.request


def try_prompts(
    engine: Engine,
    request: ScoreRequest,
    on_stage: OnStage | None = None,
    *,
    is_paired: bool = False,
    before: Sequence[ScoreResult] = (),
) -> PromptGrid:
    """Score the texts under every pair of the model's prompts, no prompt included.

    Models without prompts are tried with those of the E5 family.

    Args:
        engine: Runs the model.
        request: The setting of the form.
        on_stage: As in `compare`, whose other arguments and errors are the same.
        is_paired: As in `compare`.
        before: As in `compare`.
    """
    usual = engine.score(request, _named(on_stage, "as in the form"), before=before)
    choices = prompt_choices(usual.meta.prompt_kind)
    fronts = [_prompt_text(usual.meta.prompt_kind, choice, request.instruction) for choice in choices]
    vectors = engine.embed_under(usual, fronts, on_stage)
    used = usual.reports[0].prompt.text, usual.reports[-1].prompt.text
    n = len(usual.queries)
    first_passage = 0 if usual.is_self else n
    cells = []
    for left, left_front, left_vectors in zip(choices, fronts, vectors, strict=True):
        for right, right_front, right_vectors in zip(choices, fronts, vectors, strict=True):
            scores = score_matrix(left_vectors[:n], right_vectors[first_passage:])
            is_usual = (left_front, right_front) == used
            cells.append(_cell(usual, (left, right), scores, is_usual=is_usual, is_paired=is_paired))
    return PromptGrid(usual, tuple(cells))


def prompt_choices(kind: PromptKind) -> tuple[PromptChoice, ...]:
    """The prompts to try with a kind of model."""
    return ("none", "instruction") if kind == "instruct" else ("none", "query", "passage")


def _cell(
    usual: ScoreResult,
    prompts: tuple[PromptChoice, PromptChoice],
    scores: FloatArray,
    *,
    is_usual: bool,
    is_paired: bool,
) -> PromptCell:
    counted = scores.astype(np.float32)
    if usual.is_self:
        np.fill_diagonal(counted, np.nan)
    best = [0 if column is None else column for column in usual.best]
    same = sum(a == b for a, b in zip(best_passages(scores, usual.is_self), usual.best, strict=True))
    right = _right_ranks(usual, counted, is_paired)
    each_lead = leads(counted, best)
    lead = float(np.nanmean(each_lead)) if np.isfinite(each_lead).any() else float("nan")
    return PromptCell(*prompts, is_usual, counted, same, lead, right)


def _right_ranks(result: ScoreResult, scores: FloatArray, is_paired: bool) -> NDArray[np.int32] | None:
    """For each query the rank of the passage with its number, or of a better one with the same text.

    Empty lines leave gaps in the numbers, so the index does not show which passage belongs to a query.
    """
    if not is_paired or result.is_self:
        return None
    texts = np.array(result.passages.texts, dtype=object)
    text_of = {label[1:]: text for label, text in zip(result.passages.labels, result.passages.texts, strict=True)}
    ranked = ranks(scores)
    right_ranks = [
        ranked[row, texts == text_of[label[1:]]].min()
        for row, label in enumerate(result.queries.labels)
        if label[1:] in text_of
    ]
    return np.array(right_ranks, np.int32) if right_ranks else None


def _prompt_text(kind: PromptKind, choice: PromptChoice, instruction: str) -> str:
    if choice == "none":
        return ""
    if choice == "instruction":
        return prompts_in_front(kind, "retrieval", instruction)[0].text
    return prompts_in_front("query_passage", "retrieval", None)[choice == "passage"].text


def _named(on_stage: OnStage | None, name: str) -> OnStage | None:
    if on_stage is None:
        return None
    return lambda share, doing: on_stage(share, f"{name}: {doing}")


def mean_reciprocal_rank(right_ranks: NDArray[np.int32] | None) -> float:
    """Mean of 1 / rank of the right passages; NaN where they are unknown."""
    return float(np.mean(1 / right_ranks)) if right_ranks is not None and len(right_ranks) else float("nan")
