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
    """Hold out a share of the queries, at least 10 and at most 1,000.

    Queries that are equal but for case and spaces stay together, and so do a query and another one that answers it, as
    paraphrases do: else a judgement would be on both sides. Documents are on both sides: they are the corpus, which is
    known when a model is used.

    Raises:
        FileFormatError: Too few queries would be left.
    """
    if not share:
        return Split(training_set, None)
    groups = _groups(training_set)
    n_held_out = int(np.clip(round(share * len(groups)), MIN_SAMPLES, _MOST_HELD_OUT))
    if len(groups) - n_held_out < MIN_EXAMPLES:
        raise FileFormatError(
            f"{training_set.source} has {len(groups)} queries that are neither copies nor answers of each other. Of "
            f"these {n_held_out} are held out to judge the model by, and {MIN_EXAMPLES} more are needed to train it.",
            "Bring more, or hold out none (--held-out 0): then nothing says whether training helped.",
        )
    chosen = set(np.random.default_rng(seed).choice(len(groups), n_held_out, replace=False).tolist())
    sides = [
        [example for row, group in enumerate(groups) if (row in chosen) is is_held_out for example in group]
        for is_held_out in (False, True)
    ]
    return Split(*map(training_set.with_examples, sides))


def _groups(training_set: TrainingSet) -> list[list[Example]]:
    """Examples that belong on one side, in the order of the first of each."""
    rows = {_folded(example.query): row for row, example in enumerate(training_set.examples)}
    row_of_document = [rows.get(_folded(text)) for text in training_set.documents]
    links = list(range(len(training_set.examples)))

    def root(row: int) -> int:
        while links[row] != row:
            links[row] = row = links[links[row]]
        return row

    for row, example in enumerate(training_set.examples):
        twins = (rows[_folded(example.query)], *(row_of_document[index] for index in example.positives))
        for twin in twins:
            links[root(row if twin is None else twin)] = root(row)
    groups: dict[int, list[Example]] = {}
    for row, example in enumerate(training_set.examples):
        groups.setdefault(root(row), []).append(example)
    return list(groups.values())


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def as_task(held_out: TrainingSet, name: str) -> RetrievalTask:
    """Held-out queries as a retrieval task over all documents but a copy of the query, which has the query's id."""
    ids = tuple(f"d{row}" for row in range(len(held_out.documents)))
    copies = dict(held_out.index_of)
    queries = {}
    for row, example in enumerate(held_out.examples):
        copy = copies.pop(example.query, None)
        queries[f"q{row}" if copy is None or copy in example.positives else ids[copy]] = example

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
        skips_own_id=True,
        source=held_out.source,
        digest=held_out.digest,
    )
