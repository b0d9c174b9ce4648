"""Mines hard negatives: documents that the model ranks high for a query and that are not known to answer it.

A document that scores nearly as high as a known answer is probably an unjudged answer. Those within a margin are left
out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from e5studio.cache import VectorCache
from e5studio.encoder import E5Encoder, Progress
from e5studio.errors import UnsupportedError, VectorError
from e5studio.similarity import FloatArray, pairwise_cos_sim, top_k_search
from e5studio.training.examples import Example, TrainingSet
from e5studio.training.role_vectors import RoleVectors
from e5studio.training.roles import RolePrompts

DEPTH = 200
"""Of each query's ranking: where the authors take theirs from."""
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True)
class MiningOptions:
    """Which documents become negatives.

    Attributes:
        n_negatives: Of each query.
        depth: Rank to which the documents are looked at, known answers not counted.
        margin: A document whose cosine is not at least so far below that of the query's best answer is left out. In
            the loss 0.01 is one unit of a logit.
        sampling: "random" ones within the depth, or the "top" of it.
        seed: Of the random choice.
    """

    n_negatives: int = 7
    depth: int = DEPTH
    margin: float = 0.01
    sampling: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_negatives < 1 or self.depth < self.n_negatives:
            raise VectorError(
                f"{self.n_negatives} negatives of {self.depth} ranks: at least one is needed, and no more than ranks."
            )
        if not 0 <= self.margin < 2 or self.sampling not in ("random", "top"):
            raise VectorError(
                f"margin={self.margin}, sampling={self.sampling!r}: the margin is a difference of cosines, 0 to 2, and "
                "the sampling 'random' or 'top'."
            )


@dataclass(frozen=True)
class MiningReport:
    """What mining did.

    Attributes:
        n_queries: Queries for which it looked.
        n_mined: Negatives that were chosen.
        n_left_out: Documents within the depth that are probably unjudged answers, by the margin.
        n_without: Queries without any negative left.
        n_fewer: Queries with fewer negatives than `MiningOptions.n_negatives`, those without any included.
        options: The options.
    """

    n_queries: int
    n_mined: int
    n_left_out: int
    n_without: int
    n_fewer: int
    options: MiningOptions


@dataclass(frozen=True)
class MinedSet:
    """A training set whose examples have mined negatives, and how they were mined; None where none were."""

    training_set: TrainingSet
    report: MiningReport | None


def mine_negatives(
    encoder: E5Encoder,
    training_set: TrainingSet,
    options: MiningOptions | None = None,
    *,
    prompts: RolePrompts | None = None,
    cache: VectorCache | None = None,
    on_progress: Progress | None = None,
) -> MinedSet:
    """Give every example mined negatives from all documents of the set, beside those that it has.

    Args:
        encoder: The model to mine with, as a rule the one that will be trained.
        training_set: Queries, their known answers, and the documents to search.
        options: Depth, margin and number.
        prompts: By role; the model's own if None.
        cache: Of vectors; None: one in memory for this call.
        on_progress: Called with the number of texts embedded and of all.

    Raises:
        UnsupportedError: A teacher scored the documents, and did not score those that would be mined.
        TextError: A text leaves no token.
        PromptError: A text begins with a prompt already.
    """
    options, prompts = options or MiningOptions(), prompts or RolePrompts.of(encoder.meta.prompt_kind)
    if training_set.has_teacher:
        raise UnsupportedError(
            f"{training_set.source} has a teacher's scores, which mined negatives lack.",
            "Leave mining out, or take the scores out of the data.",
        )
    prompts.check(training_set)
    vectors = RoleVectors(encoder, prompts, cache or VectorCache())
    documents = vectors.of_documents(training_set.documents, on_progress)
    chance = np.random.default_rng(options.seed)
    mined: list[Example] = []
    n_left_out = n_new = n_without = n_fewer = 0
    for start in range(0, len(training_set.examples), _QUERIES_AT_ONCE):
        block = training_set.examples[start : start + _QUERIES_AT_ONCE]
        known = [training_set.known_answers(example) for example in block]
        queries = vectors.of_queries(block)
        for example, candidates in zip(block, _candidates(block, known, queries, documents, options), strict=True):
            chosen = _choose(candidates.usable, options, chance)
            mined.append(replace(example, negatives=tuple(dict.fromkeys((*example.negatives, *chosen)))))
            n_left_out, n_new = n_left_out + candidates.n_left_out, n_new + len(chosen)
            n_without, n_fewer = n_without + (not chosen), n_fewer + (len(chosen) < options.n_negatives)
    report = MiningReport(len(mined), n_new, n_left_out, n_without, n_fewer, options)
    return MinedSet(training_set.with_examples(mined), report)


@dataclass(frozen=True)
class _Candidates:
    """Documents that may become negatives of a query, best first, and how many were too near its answers."""

    usable: NDArray[np.int64]
    n_left_out: int


def _candidates(
    block: Sequence[Example],
    known: Sequence[Sequence[int]],
    queries: FloatArray,
    documents: FloatArray,
    options: MiningOptions,
) -> list[_Candidates]:
    hits = top_k_search(queries, documents, top_k=min(len(documents), options.depth + max(map(len, known))))
    rows = zip(known, _best_answers(block, queries, documents), hits.ids, hits.scores, strict=True)
    return [_of_query(*row, options) for row in rows]


def _best_answers(block: Sequence[Example], queries: FloatArray, documents: FloatArray) -> list[float]:
    """The cosine of each query with the nearest of its answers."""
    answers = [documents[list(example.positives)] for example in block]
    return [
        float(pairwise_cos_sim(np.repeat(query[None], len(vectors), 0), vectors).max())
        for query, vectors in zip(queries, answers, strict=True)
    ]


def _of_query(
    known: Sequence[int], best_answer: float, ids: NDArray[np.int64], scores: FloatArray, options: MiningOptions
) -> _Candidates:
    is_unknown = ~np.isin(ids, known)
    ids, scores = ids[is_unknown][: options.depth], scores[is_unknown][: options.depth]
    is_usable = scores <= best_answer - options.margin
    return _Candidates(ids[is_usable], int(np.count_nonzero(~is_usable)))


def _choose(usable: NDArray[np.int64], options: MiningOptions, chance: np.random.Generator) -> list[int]:
    n_chosen = min(options.n_negatives, len(usable))
    rows = chance.choice(len(usable), n_chosen, replace=False) if options.sampling == "random" else range(n_chosen)
    return [int(usable[row]) for row in rows]
