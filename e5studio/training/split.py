"""Holds out queries: those that a model is judged by are never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from e5studio.analysis.significance import MIN_SAMPLES
from e5studio.errors import FileFormatError
from e5studio.evaluation.tasks import Document, RetrievalTask
from e5studio.training.examples import MIN_EXAMPLES, Example, TrainingSet

_MOST_HELD_OUT = 1_000
"""More queries narrow the interval little, and cost time twice."""


@dataclass(frozen=True)
class Split:
    """The examples to train on and those held out, over the same documents.

    Attributes:
        train: Examples to train on.
        held_out: Examples to judge by; None if nothing is held out.
    """

    train: TrainingSet
    held_out: TrainingSet | None


def split_queries(training_set: TrainingSet, share: float, seed: int) -> Split:
    """Hold out a share of the queries, at least 10 and at most 1,000; equal but for case and spaces stay together.

    Documents may stand on both sides: they are the corpus, which is known when a model is used.

    Raises:
        FileFormatError: Too few queries would be left.
    """
    if not share:
        return Split(training_set, None)
    groups: dict[str, list[Example]] = {}
    for example in training_set.examples:
        groups.setdefault(" ".join(example.query.split()).casefold(), []).append(example)
    n_held_out = int(np.clip(round(share * len(groups)), MIN_SAMPLES, _MOST_HELD_OUT))
    if len(groups) - n_held_out < MIN_EXAMPLES:
        raise FileFormatError(
            f"{training_set.source} has {len(groups)} different queries. Of these {n_held_out} are held out to judge "
            f"the model by, and {MIN_EXAMPLES} more are needed to train it.",
            "Bring more, or hold out none (--held-out 0): then nothing says whether training helped.",
        )
    names = list(groups)
    chosen = {names[row] for row in np.random.default_rng(seed).choice(len(names), n_held_out, replace=False)}
    sides = [
        [example for name in names if (name in chosen) is wanted for example in groups[name]]
        for wanted in (False, True)
    ]
    return Split(*map(training_set.with_examples, sides))


def as_task(held_out: TrainingSet, name: str) -> RetrievalTask:
    """Held-out queries as a retrieval task over all documents."""
    ids = tuple(f"d{row}" for row in range(len(held_out.documents)))
    queries = {f"q{row}": example for row, example in enumerate(held_out.examples)}

    def documents() -> Iterator[Document]:
        return (Document("", text) for text in held_out.documents)

    return RetrievalTask(
        name=name,
        split="held out",
        query_ids=tuple(queries),
        queries=tuple(example.query for example in held_out.examples),
        document_ids=ids,
        documents=documents,
        judgements={
            query: {ids[row]: max(1, round(grade)) for row, grade in zip(each.positives, each.grades, strict=True)}
            for query, each in queries.items()
        },
        source=held_out.source,
        digest=held_out.digest,
    )
