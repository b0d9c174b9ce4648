"""Plans every step of a training run: which queries, with which answer and negatives, in which order.

All of it follows from the seed, before the first step, so that a run that was stopped goes on with the same batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """
    chance = np.random.default_rng(options.seed)
    steps: list[Step] = []
    for _ in range(options.n_epochs):
        order = chance.permutation(len(training_set.examples))
        draws = [_draw(int(index), training_set.examples[index], options.n_negatives, chance) for index in order]
        steps += _without_copies(draws, training_set.examples, options.batch_size)
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
    steps: list[Step] = []
    waiting = list(draws)
    while waiting:
        step: list[Draw] = []
        later: list[Draw] = []
        queries: set[str] = set()
        positives: set[int] = set()
        for position, draw in enumerate(waiting):
            if len(step) == size:
                later += waiting[position:]
                break
            query = examples[draw.example].query
            if query in queries or draw.positive in positives:
                later.append(draw)
                continue
            step.append(draw)
            queries.add(query)
            positives.add(draw.positive)
        if len(step) == 1 and not step[0].negatives:  # nothing to tell its answer from
            break
        steps.append(tuple(step))
        waiting = later
    return steps
