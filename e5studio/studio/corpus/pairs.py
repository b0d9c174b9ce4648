"""Queries with known answers in a corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from e5studio.errors import TextError
from e5studio.studio.corpus.corpus import Corpus
from e5studio.studio.errors import LimitError
from e5studio.studio.formatting import listed
from e5studio.text_checks import find_bad_texts

MAX_QUERIES = 10_000
"""More are for the command line."""
_MAX_NAMED = 5


@dataclass(frozen=True)
class Pairs:
    """Queries and the rows of a corpus that answer them.

    Attributes:
        queries: Each once.
        relevant: For each query the rows that answer it, at least one, ascending.
        left_out: Lines of pairs without a query, or without an answer in the corpus.
    """

    queries: tuple[str, ...]
    relevant: tuple[tuple[int, ...], ...]
    left_out: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def judgements(self) -> dict[str, dict[str, int]]:
        """Query id -> document id -> relevance, where ids are rows."""
        return {str(query): {str(row): 1 for row in rows} for query, rows in enumerate(self.relevant)}


def read_pairs(
    queries: Sequence[str],
    answers: Sequence[str | int],
    corpus: Corpus,
    *,
    lines: Sequence[int] | None = None,
    ids: Sequence[str] | None = None,
) -> Pairs:
    """Find the answers in a corpus. A query that comes several times has several answers.

    An answer that is a number is the line on which a row begins. A text is, in this order: the id of a row, where
    there are ids; the text of a row, its title, or both as they are embedded (white space around them apart); the
    line on which a row begins, where there are no ids. All rows with the text of an answer count.

    Args:
        queries: One for each pair.
        answers: One for each pair.
        corpus: The rows to search.
        lines: The line of each pair, for messages; counted from 1 if None.
        ids: Of the rows of the corpus, (n,).

    Raises:
        TextError: There are no pairs, or none can be used.
        LimitError: More queries than `MAX_QUERIES`.
    """
    numbers = list(lines) if lines is not None else list(range(1, len(queries) + 1))
    if not queries:
        raise TextError("There are no pairs. Give a query and its answer in each row.")
    find = _finder(corpus, ids)
    empty = find_bad_texts(queries)
    # Queries that differ in surrounding white space are one, spelled as the first.
    spelled: dict[str, str] = {}
    relevant: dict[str, set[int]] = {}
    left_out: list[int] = []
    for index, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        rows = () if index in empty else find(answer)
        if rows:
            spelled.setdefault(query.strip(), query)
            relevant.setdefault(query.strip(), set()).update(rows)
        else:
            left_out.append(numbers[index])
    if len(left_out) == len(queries):
        raise TextError(
            f"No pair has a query and an answer that is in {corpus.source} (lines "
            f"{listed(map(str, left_out), _MAX_NAMED)}). An answer is the text or the title of a row as it stands "
            "there, or the number of its line.",
            range(len(queries)),
        )
    n = len(relevant)
    if n > MAX_QUERIES:
        raise LimitError(f"{n:,} queries are more than the {MAX_QUERIES:,} measured at once here. Take fewer.")
    return Pairs(tuple(spelled.values()), tuple(tuple(sorted(rows)) for rows in relevant.values()), tuple(left_out))


def _finder(corpus: Corpus, ids: Sequence[str] | None) -> Callable[[str | int], tuple[int, ...]]:
    """A function from an answer to the rows that it names."""
    by_line = {line: row for row, line in enumerate(corpus.lines)}
    by_document = _rows_by_name(corpus.documents)
    sources = (ids, corpus.texts, corpus.titles, corpus.documents if corpus.titles is not None else None)
    tables: list[Mapping[str, Sequence[int]]] = [_rows_by_name(names) for names in sources if names is not None]
    if ids is None:  # an unknown id must not become a line
        tables.append({str(line): [row] for line, row in by_line.items()})

    def find(answer: str | int) -> tuple[int, ...]:
        if isinstance(answer, int):
            row = by_line.get(answer)
            return () if row is None else tuple(by_document[corpus.document(row).strip()])
        name = answer.strip()
        return next((tuple(table[name]) for table in tables if name and name in table), ())

    return find


def _rows_by_name(names: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name.strip(), []).append(row)
    return rows
