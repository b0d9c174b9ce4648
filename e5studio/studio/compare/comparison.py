"""The same texts scored under two settings, or under every pair of prompts. Knows no Gradio.

It counts differences. Scores alone cannot show which setting is better; where passage n is known to answer query n,
the ranks of the right passages can.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import TextError
from e5studio.models import ModelMeta, PromptKind
from e5studio.similarity import FloatArray
from e5studio.similarity import scores as score_matrix
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import prompts_in_front
from e5studio.studio.engine.result import ScoreRequest, ScoreResult

Values = NDArray[np.float64]
Ranks = NDArray[np.int32]
_TIE = 1e-3  # points; what rounding makes of equal vectors is less


def tied_ranks(scores: FloatArray) -> Ranks:
    """The rank of each score in its row, 1 the highest; scores that only rounding tells apart share one; 0 for NaN."""
    ranked = np.zeros(scores.shape, np.int32)
    for row, own in enumerate(scores):
        known = np.isfinite(own)
        ascending = np.sort(own[known])
        ranked[row, known] = 1 + len(ascending) - np.searchsorted(ascending, own[known] + _TIE, side="right")
    return ranked


@dataclass(frozen=True)
class Comparison:
    """Two results over the same texts.

    Attributes:
        first: Under the setting that the change starts from.
        second: Under the other.
        of_form: The one of the two whose setting is the form's.
        is_paired: Passage n is the right one for query n, where both exist.
        is_trained: The second is a model of the visitor's host, of the shape of the first: what training changed.
    """

    first: ScoreResult
    second: ScoreResult
    of_form: ScoreResult
    is_paired: bool = False
    is_trained: bool = False

    @property
    def counted(self) -> tuple[FloatArray, FloatArray]:
        """Both score matrices; NaN for a text with itself."""
        return self.first.counted, self.second.counted

    @functools.cached_property
    def ranks(self) -> tuple[Ranks, Ranks]:
        """The `tied_ranks` under both."""
        first, second = map(tied_ranks, self.counted)
        return first, second

    @property
    def right_ranks(self) -> tuple[Ranks, Ranks] | None:
        """The rank of each query's right passage under both; None where the right passages are unknown."""
        first, second = (_right_ranks(self.of_form, ranks, self.is_paired) for ranks in self.ranks)
        return None if first is None or second is None else (first, second)

    @property
    def is_same_setting(self) -> bool:
        """Whether nothing differs that could change a vector."""
        return self.first.fingerprint == self.second.fingerprint and _prompts(self.first) == _prompts(self.second)

    @property
    def is_same_scale(self) -> bool:
        """Whether a difference of two scores means anything: one model under the same prompts, in any precision."""
        return self.first.meta.name == self.second.meta.name and _prompts(self.first) == _prompts(self.second)

    @property
    def deltas(self) -> FloatArray:
        """The second's scores minus the first's, (n_queries, n_passages), in points of cosine x 100."""
        first, second = self.counted
        deltas: FloatArray = second - first
        return deltas

    @property
    def rank_changes(self) -> Values:
        """1 / rank under the second minus that under the first: steps near the top count most; 0 for no pair."""
        first, second = (np.divide(1.0, ranks, where=ranks > 0, out=np.zeros(ranks.shape)) for ranks in self.ranks)
        changes: Values = second - first
        return changes

    @property
    def n_ranked(self) -> int:
        """How many passages of each query have a rank."""
        return len(self.first.passages) - self.first.is_self

    def other_firsts(self) -> list[int]:
        """The rows in which another passage comes first; of passages that tie, each does."""
        return np.flatnonzero(~_shares_first(*self.ranks)).tolist()

    def firsts(self) -> list[tuple[int, int]]:
        """For each row a passage that comes first under either: the same one twice where it can be."""
        shared = (self.ranks[0] == 1) & (self.ranks[1] == 1)
        first, second = ((2 * shared + (ranks == 1)).argmax(axis=1).tolist() for ranks in self.ranks)
        return list(zip(first, second, strict=True))

    @property
    def has_ties(self) -> bool:
        """Whether passages share a first place."""
        return any(bool(((ranks == 1).sum(axis=1) > 1).any()) for ranks in self.ranks)

    def reordered(self) -> list[int]:
        """The rows in which any rank differs."""
        first, second = self.ranks
        return np.flatnonzero((first != second).any(axis=1)).tolist()

    def most_moved(self) -> int:
        """The row whose order changes most, one with another first passage if there is one."""
        changes = np.abs(self.rank_changes).sum(axis=1)
        changes[self.other_firsts()] += len(changes) + self.first.scores.shape[1]
        return int(changes.argmax())


def compare(
    engine: Engine,
    form: ScoreRequest,
    other: ScoreRequest,
    on_stage: OnStage | None = None,
    *,
    is_paired: bool = False,
    before: Sequence[ScoreResult] = (),
) -> Comparison:
    """Score the texts under two settings.

    Args:
        engine: Runs the models.
        form: Setting A, with the texts.
        other: Setting B; its texts and separator are not read.
        on_stage: Called with the progress.
        is_paired: Passage n is the right one for query n, where both exist.
        before: The visitor's results so far; texts in one of the same setting are not embedded again.

    Returns:
        From A to B; from a base to what was trained from it, whichever is A.

    Raises:
        E5StudioError: As `Engine.score`; or one model reads a text in which the other finds nothing.
        StoppedError: `on_stage` asked to stop.
    """
    first = engine.score(form, _named(on_stage, "A"), before=before)
    other = replace(other, queries=form.queries, passages=form.passages, separator=form.separator)
    second = engine.score(other, _named(on_stage, "B"), before=before)
    _check_same_texts(first, second)
    if may_be_base(engine.catalog, second.meta, first.meta):
        return Comparison(second, first, first, is_paired, is_trained=True)
    return Comparison(first, second, first, is_paired, may_be_base(engine.catalog, first.meta, second.meta))


def may_be_base(catalog: Catalog, base: ModelMeta, tuned: ModelMeta) -> bool:
    """Whether an own model may have been trained from a model of the table: its shape and its use are the same."""
    own = [each.meta for each in catalog.own]
    facts = ("model_type", "n_layers", "embed_dim", "pooling", "prompt_kind")
    is_alike = all(getattr(base, fact) == getattr(tuned, fact) for fact in facts)
    is_as_large = abs(base.n_parameters - tuned.n_parameters) < 0.05 * base.n_parameters
    return tuned in own and base not in own and is_alike and is_as_large


PromptChoice = Literal["none", "query", "passage", "instruction"]
PROMPT_NAMES: dict[PromptChoice, str] = {
    "none": "nothing",
    "query": "query prompt",
    "passage": "passage prompt",
    "instruction": "instruction",
}


@dataclass(frozen=True)
class PromptPair:
    """What one pair of prompts changes.

    Attributes:
        left: Prompt of the queries.
        right: Prompt of the passages.
        is_usual: These are the prompts of the form.
        other_firsts: Labels of the queries with another first passage than under the prompts of the form.
        right_ranks: The rank of each query's right passage; None where the right passages are unknown.
    """

    left: PromptChoice
    right: PromptChoice
    is_usual: bool
    other_firsts: tuple[str, ...]
    right_ranks: Ranks | None


@dataclass(frozen=True)
class PromptGrid:
    """Every pair of prompts.

    Attributes:
        of_form: The result under the prompts of the form.
        pairs: One for each prompt of the queries and each of the passages.
    """

    of_form: ScoreResult
    pairs: tuple[PromptPair, ...]


def try_prompts(engine: Engine, comparison: Comparison, on_stage: OnStage | None = None) -> PromptGrid:
    """Score the texts of a comparison under every pair of prompts of the form's model, no prompt included.

    Args:
        engine: Runs the model.
        comparison: Has the setting of the form, and vectors that need not be computed again.
        on_stage: As in `compare`, whose errors are the same.
    """
    usual = comparison.of_form
    kind = usual.meta.prompt_kind
    choices = prompt_choices(kind)
    fronts = [_prompt_text(kind, choice, usual.request.instruction) for choice in choices]
    vectors = engine.embed_under(usual, fronts, on_stage)
    used = usual.reports[0].prompt.text, usual.reports[-1].prompt.text
    n = len(usual.queries)
    usual_ranks, pairs = tied_ranks(usual.counted), []
    for left, left_front, left_vectors in zip(choices, fronts, vectors, strict=True):
        for right, right_front, right_vectors in zip(choices, fronts, vectors, strict=True):
            scores = score_matrix(left_vectors[:n], right_vectors[0 if usual.is_self else n :])
            if usual.is_self:
                np.fill_diagonal(scores, np.nan)
            ranks = tied_ranks(scores)
            others = np.flatnonzero(~_shares_first(usual_ranks, ranks))
            labels = tuple(usual.queries.labels[row] for row in others)
            is_usual = (left_front, right_front) == used
            pairs.append(PromptPair(left, right, is_usual, labels, _right_ranks(usual, ranks, comparison.is_paired)))
    return PromptGrid(usual, tuple(pairs))


def prompt_choices(kind: PromptKind) -> tuple[PromptChoice, ...]:
    """The prompts to try with a kind of model."""
    return ("none", "instruction") if kind == "instruct" else ("none", "query", "passage")


def _shares_first(first: Ranks, second: Ranks) -> NDArray[np.bool_]:
    """For each row whether a passage comes first under both."""
    shares: NDArray[np.bool_] = ((first == 1) & (second == 1)).any(axis=1)
    return shares


def _right_ranks(result: ScoreResult, ranks: Ranks, is_paired: bool) -> Ranks | None:
    """For each query the rank of the passage with its number, or of a better one with the same text.

    Empty lines leave gaps in the numbers, so the index does not show which passage belongs to a query.
    """
    if not is_paired or result.is_self:
        return None
    texts = np.array(result.passages.texts, dtype=object)
    text_of = {label[1:]: text for label, text in zip(result.passages.labels, result.passages.texts, strict=True)}
    right_ranks = [
        ranks[row, texts == text_of[label[1:]]].min()
        for row, label in enumerate(result.queries.labels)
        if label[1:] in text_of
    ]
    return np.array(right_ranks, np.int32) if right_ranks else None


def _check_same_texts(first: ScoreResult, second: ScoreResult) -> None:
    """Refuse results with different rows or columns: a text without a token for the model has been left out."""
    for reader, blind in ((first, second), (second, first)):
        for box, other in ((reader.queries, blind.queries), (reader.passages, blind.passages)):
            numbers = {label[1:] for label in other.labels}
            missing = [label for label in box.labels if label[1:] not in numbers]
            if missing:
                raise TextError(
                    f"{blind.meta.short_name} finds nothing to read in {missing[0]}, {reader.meta.short_name} does. "
                    "Take this text out, or compare other models."
                )


def _prompts(result: ScoreResult) -> list[str]:
    return [report.prompt.text for report in result.reports]


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


def mean_reciprocal_rank(right_ranks: Ranks | None) -> float:
    """Mean of 1 / rank of the right passages; NaN where they are unknown."""
    return float(np.mean(1 / right_ranks)) if right_ranks is not None and len(right_ranks) else float("nan")
