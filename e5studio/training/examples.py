"""What a model is trained on: queries, the documents that answer them, and documents that do not.

Texts are stored once; examples refer to documents by index, so that copies of one text are one document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from e5studio.errors import FileFormatError

MIN_EXAMPLES = 2
"""In-batch negatives are the documents of the other queries."""


@dataclass(frozen=True)
class Example:
    """One query with its documents.

    Attributes:
        query: Its text, without a prompt.
        positives: Indices of the documents that answer it.
        grades: How well each does; a positive is drawn in proportion.
        negatives: Indices of documents that do not answer it; given by the caller or mined.
        teacher_scores: Of the only positive and then of each negative, from a teacher; empty without one.
        instruction: The task, for instruct models.
    """

    query: str
    positives: tuple[int, ...]
    grades: tuple[float, ...]
    negatives: tuple[int, ...] = ()
    teacher_scores: tuple[float, ...] = ()
    instruction: str | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Examples and the documents that they refer to.

    Attributes:
        documents: Different texts, titles joined.
        examples: One for each query and instruction.
        source: Where it was read, for messages and the report.
    """

    documents: tuple[str, ...]
    examples: tuple[Example, ...]
    source: str = ""

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher scored the documents of every example."""
        return all(example.teacher_scores for example in self.examples)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that differ whenever a text, a judgement or a score differs."""
        digest = hashlib.sha256()
        for part in (*self.documents, *map(repr, self.examples)):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little") + raw)
        return digest.hexdigest()[:32]

    @cached_property
    def index_of(self) -> dict[str, int]:
        """The index of each document by its text."""
        return {text: index for index, text in enumerate(self.documents)}

    def known_answers(self, example: Example) -> tuple[int, ...]:
        """Documents that are never negatives of a query: those that answer it, and a copy of the query."""
        own = self.index_of.get(example.query)
        return example.positives if own is None or own in example.positives else (*example.positives, own)

    def with_examples(self, examples: Sequence[Example]) -> TrainingSet:
        """The same documents with other examples."""
        return replace(self, examples=tuple(examples))


@dataclass
class TrainingSetBuilder:
    """Collects rows; the rows of one query become one example, and copies of a text one document."""

    source: str
    _documents: dict[str, int] = field(default_factory=dict)
    _examples: dict[tuple[str, str | None], Example] = field(default_factory=dict)

    def add_document(self, text: str) -> int:
        """The index of a document, which is new or was there."""
        return self._documents.setdefault(text, len(self._documents))

    def add(self, example: Example) -> None:
        """Add an example, or its documents to the example of the same query and instruction.

        Raises:
            FileFormatError: The query is there already, and a teacher's scores belong to one list of documents.
        """
        key = (example.query, example.instruction)
        earlier = self._examples.get(key)
        if earlier is None:
            self._examples[key] = example
            return
        if earlier.teacher_scores or example.teacher_scores:
            raise FileFormatError(
                f"{self.source}: the query {example.query[:60]!r} comes twice, with scores.",
                "Put all its documents and their scores on one row.",
            )
        grades = dict(zip(earlier.positives, earlier.grades, strict=True))
        grades |= dict(zip(example.positives, example.grades, strict=True))
        negatives = dict.fromkeys((*earlier.negatives, *example.negatives))
        self._examples[key] = replace(
            earlier, positives=tuple(grades), grades=tuple(grades.values()), negatives=tuple(negatives)
        )

    def build(self) -> TrainingSet:
        """The finished set; a negative that is a known answer of its query is left out.

        Raises:
            FileFormatError: There are too few queries, or only some have a teacher's scores.
        """
        examples = tuple(self._examples.values())
        if len(examples) < MIN_EXAMPLES:
            raise FileFormatError(
                f"{self.source} holds {'one query' if examples else 'no rows'}.",
                f"Training needs {MIN_EXAMPLES} different queries or more: they learn from each other's answers.",
            )
        n_scored = sum(bool(example.teacher_scores) for example in examples)
        if n_scored not in (0, len(examples)):
            raise FileFormatError(
                f"{self.source}: {n_scored:,} of {len(examples):,} queries have a teacher's scores.",
                "Give scores for all or for none.",
            )
        training_set = TrainingSet(tuple(self._documents), examples, self.source)
        if n_scored:  # the scores belong to these documents
            return training_set
        return training_set.with_examples([_without_answers(example, training_set) for example in examples])


def _without_answers(example: Example, training_set: TrainingSet) -> Example:
    answers = set(training_set.known_answers(example))
    return replace(example, negatives=tuple(each for each in example.negatives if each not in answers))
