"""Queries with known answers in a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from e5studio.errors import TextError
from e5studio.studio.corpus.corpus import Corpus
from e5studio.studio.errors import LimitError
from e5studio.text_checks import find_bad_texts

MAX_QUERIES = 10_000
"""More are for the command line."""
Unknown = Literal["leave out", "refuse"]
_FEW_NAMED = 5


@dataclass(frozen=True)
class Pairs:
    """Queries and the rows of a corpus that answer them.

    Attributes:
        queries: Each once.
        relevant: For each query the rows that answer it, at least one, ascending.
        grades: For each of those rows how relevant it is, from 1; all 1 if None.
        left_out: Lines of the pairs that were left out, because they hold no query or their answer is not in the
            corpus.
    """

    queries: tuple[str, ...]
    relevant: tuple[tuple[int, ...], ...]
    grades: tuple[tuple[int, ...], ...] | None = None
    left_out: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def judgements(self) -> dict[str, dict[str, int]]:
        """As an evaluation takes them: query id -> document id -> relevance, ids being places."""
        graded = self.grades or tuple((1,) * len(rows) for rows in self.relevant)
        return {
            str(query): {str(row): grade for row, grade in zip(rows, grades, strict=True)}
            for query, (rows, grades) in enumerate(zip(self.relevant, graded, strict=True))
        }


def read_pairs(
    queries: Sequence[str],
    answers: Sequence[str | int],
    corpus: Corpus,
    *,
    lines: Sequence[int] | None = None,
    ids: Sequence[str] | None = None,
    unknown: Unknown = "leave out",
) -> Pairs:
    """Find the answers in a corpus. A query that comes several times has several answers.

    An answer that is a number is the line on which a row begins. One that is text is, in this order: the id of a row,
    where there are ids; the text of a row, its title, or both as they are embedded (white space around them apart);
    the line on which a row begins, where there are no ids. All rows with the text of an answer count.

    Args:
        queries: One for each pair.
        answers: The same of answers.
        corpus: Where they are looked for.
        lines: The line of each pair, for messages; counted from 1 if None.
        ids: Of the rows of the corpus, (n,).
        unknown: Whether a pair without a query, or whose answer is not in the corpus, is left out or refused.

    Raises:
        TextError: There are no pairs, none can be used, or one can't and `unknown` is "refuse"; `indices` says which.
        LimitError: More queries than `MAX_QUERIES`.
    """
    numbers = list(lines) if lines is not None else list(range(1, len(queries) + 1))
    find = _finder(corpus, ids)
    empty = find_bad_texts(queries)
    found = _Answers()
    missing: list[int] = []
    for place, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        rows = () if place in empty else find(answer)
        if rows:
            found.add(query, rows)
        else:
            missing.append(place)
    _check_found(missing, [numbers[place] for place in missing], len(queries), corpus.source, unknown)
    return found.pairs(tuple(numbers[place] for place in missing))


class _Answers:
    """Rows by query; queries that differ in the white space around them are one, read as the first stands there."""

    def __init__(self) -> None:
        self._rows: dict[str, set[int]] = {}
        self._queries: list[str] = []

    def add(self, query: str, rows: Iterable[int]) -> None:
        key = query.strip()
        if key not in self._rows:
            self._queries.append(query)
        self._rows.setdefault(key, set()).update(rows)

    def pairs(self, left_out: tuple[int, ...]) -> Pairs:
        n = len(self._queries)
        if n > MAX_QUERIES:
            raise LimitError(f"{n:,} queries are more than the {MAX_QUERIES:,} measured at once here. Take fewer.")
        return Pairs(
            tuple(self._queries), tuple(tuple(sorted(rows)) for rows in self._rows.values()), left_out=left_out
        )


def _finder(corpus: Corpus, ids: Sequence[str] | None) -> Callable[[str | int], tuple[int, ...]]:
    """Gives the rows that an answer names."""
    by_line = {line: row for row, line in enumerate(corpus.lines)}
    by_document = _places(corpus.documents)
    tables: list[Mapping[str, Sequence[int]]] = []
    for names in (ids, corpus.texts, corpus.titles, corpus.documents if corpus.titles is not None else None):
        if names is not None:
            tables.append(_places(names))
    if ids is None:  # an id that is not there must not become a line
        tables.append({str(line): [row] for line, row in by_line.items()})

    def find(answer: str | int) -> tuple[int, ...]:
        if isinstance(answer, int):
            row = by_line.get(answer)
            return () if row is None else tuple(by_document[corpus.document(row).strip()])
        wanted = answer.strip()
        return next((tuple(table[wanted]) for table in tables if wanted and wanted in table), ())

    return find


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.strip(), []).append(place)
    return places


def _check_found(places: Sequence[int], lines: Sequence[int], n_pairs: int, source: str, unknown: Unknown) -> None:
    if not n_pairs:
        raise TextError("There are no pairs. Give a query and its answer in each row.")
    if not places or (unknown == "leave out" and len(places) < n_pairs):
        return
    listed = ", ".join(map(str, lines[:_FEW_NAMED])) + (", ..." if len(lines) > _FEW_NAMED else "")
    how_many = "No pair" if len(places) == n_pairs else f"{len(places):,} of {n_pairs:,} pairs"
    verb = "has" if len(places) == n_pairs else "lack"
    raise TextError(
        f"{how_many} {verb} a query and an answer that is in {source} (lines {listed}). An answer is the text or the "
        "title of a row as it stands there, or the number of its line.",
        places,
    )
