"""Plans every step of a training run: which queries, with which answer and negatives, in which order.

All of it follows from the seed, before the first step, so that a run that was stopped goes on with the same batches.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e5studio.errors import FileFormatError
from e5studio.training.examples import Example, TrainingSet


@dataclass(frozen=True)
class Draw:
    """One query of a step.

    Attributes:
        example: Index of its example.
        positive: Index of the answer drawn.
        negatives: Indices of the negatives drawn.
    """

    example: int
    positive: int
    negatives: tuple[int, ...]


Step = tuple[Draw, ...]


@dataclass(frozen=True)
class StepOptions:
    """How the steps are drawn.

    Attributes:
        batch_size: Queries of a step.
        n_epochs: Passes over all queries; each draws answers and negatives anew.
        n_negatives: Of each query, beside those of the other queries.
        seed: Of all draws.
    """

    batch_size: int
    n_epochs: int
    n_negatives: int
    seed: int = 0


def plan_steps(training_set: TrainingSet, options: StepOptions) -> tuple[Step, ...]:
    """The steps of all epochs.

    No step holds a query or an answer twice: a copy would be a negative of itself. What does not fit into a step waits
    for the next one of its epoch; queries that fit into none, since all of them have one answer, are left out of it.

    Raises:
        FileFormatError: No query has anything to tell its answer from.
    """
    chance = np.random.default_rng(options.seed)
    steps: list[Step] = []
    for _ in range(options.n_epochs):
        order = chance.permutation(len(training_set.examples))
        draws = [_draw(int(index), training_set.examples[index], options.n_negatives, chance) for index in order]
        steps += _without_copies(draws, training_set.examples, options.batch_size)
    if not steps:
        raise FileFormatError(
            f"{training_set.source}: all queries have the same answer, and no query has a negative.",
            "Training needs at least two different answers, or negatives.",
        )
    return tuple(steps)


def digest_of(steps: Sequence[Step]) -> str:
    """32 hexadecimal digits that differ whenever a step does."""
    return hashlib.sha256(repr(steps).encode()).hexdigest()[:32]


def _draw(index: int, example: Example, n_negatives: int, chance: np.random.Generator) -> Draw:
    if example.teacher_scores:  # which belong to these documents in this order
        return Draw(index, example.positives[0], example.negatives)
    weights = np.array(example.grades)
    positive = int(chance.choice(example.positives, p=weights / weights.sum()))
    n_drawn = min(n_negatives, len(example.negatives))
    negatives = chance.choice(example.negatives, n_drawn, replace=False) if n_drawn else ()
    return Draw(index, positive, tuple(map(int, negatives)))


def _without_copies(draws: Sequence[Draw], examples: Sequence[Example], size: int) -> list[Step]:
    """Steps in the order of the draws; those of one answer wait in a queue, whose first one alone may come next."""
    queues: dict[int, deque[int]] = {}
    for position, draw in enumerate(draws):
        queues.setdefault(draw.positive, deque()).append(position)
    heads = [queue.popleft() for queue in queues.values()]  # in order, so that it is a heap
    steps: list[Step] = []
    while heads:
        step: list[Draw] = []
        later: list[int] = []
        queries: set[str] = set()
        while heads and len(step) < size:
            position = heapq.heappop(heads)
            draw = draws[position]
            query = examples[draw.example].query
            if query in queries:
                later.append(position)
                continue
            step.append(draw)
            queries.add(query)
            if queues[draw.positive]:
                later.append(queues[draw.positive].popleft())
        if len(step) > 1 or step[0].negatives:  # else there is nothing to tell its answer from
            steps.append(tuple(step))
        for position in later:
            heapq.heappush(heads, position)
    return steps
