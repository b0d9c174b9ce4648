"""A file or pasted texts -> a table -> a corpus of its chosen columns. Embeds nothing.

Cells stay as they are, "NA", "null" and 007 too. Messages name unreadable rows by their line. A file that is too
large is refused once that is clear.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from e5studio.errors import FileEncodingError, FileFormatError, FileOptionError, TextError
from e5studio.files.delimited import Quotes
from e5studio.files.parquet import unfit_message
from e5studio.files.parquet_copy import rewritten
from e5studio.files.records import LINE_COLUMN, PARQUET, RECORD_ENDINGS, Cell, NotText, Record, Records, open_records
from e5studio.files.texts import DEFAULT_COLUMN
from e5studio.studio.corpus.corpus import MAX_ROWS, Corpus
from e5studio.studio.engine.text_box import split_texts
from e5studio.studio.errors import LimitError
from e5studio.text_checks import find_bad_texts
from e5studio.tokenization import replace_surrogates

BadRows = Literal["skip", "refuse"]
"""Leave unreadable rows out and list them, or refuse the whole file."""

MAX_CHARACTERS = 100_000_000
MAX_CELLS = 2_000_000
MAX_COLUMNS = 1_000
MAX_LINE_CHARACTERS = 1_000_000
"""Of a line of JSONL; what it holds may take a hundred times its memory when it is parsed."""
PASTED = "pasted texts"

_BYTES_OF_A_CHARACTER = 4  # at most, in any encoding
_TEXT_NAMES = (
    "text passage content body abstract document answer sentence description question query review comment".split()
)
_TITLE_NAMES = "title headline heading subject".split()
_ROWS_LOOKED_AT = 1000
_MENU_ADVICE = {
    "encoding": "Choose the encoding that it was saved with under 'How the file is read', such as cp1252 or utf-16-le.",
    "delimiter": "Choose what its cells are separated by under 'How the file is read', or save it with commas.",
    "quotes": "Choose what a quote means under 'How the file is read'.",
}
_SAVE_ADVICE = "Save it as CSV with commas between the cells, quotes around texts, and in UTF-8."
_ELSEWHERE = "Take a part of it, or use the e5studio command, which has no such limit."


@dataclass(frozen=True)
class SourceTable:
    """What a file holds.

    Attributes:
        name: Of the file, or "pasted texts".
        columns: Their names; of Parquet without columns of lists and structures.
        cells: The cells of each column, a row each.
        lines: The line (in Parquet the row) on which each row begins, from 1.
        bad_rows: The problem of each unreadable row; these rows are not in the table.
        on_bad_rows: As requested; also for cells of the text column that are no text.
        row_word: The unit of `lines`: "line", "row" or "part".
        notes: What else a visitor should know, such as columns that are not offered.
        n_source_rows: Rows of the source, where the table has evenly spaced ones of them; None where it has all.
    """

    name: str
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...] = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)
    bad_rows: tuple[str, ...] = field(default=(), repr=False)
    on_bad_rows: BadRows = "skip"
    row_word: str = "line"
    notes: tuple[str, ...] = field(default=(), repr=False)
    n_source_rows: int | None = None

    def __len__(self) -> int:
        """Rows that could be read."""
        return len(self.lines)

    def column(self, name: str) -> tuple[Cell, ...]:
        """The cells of a column.

        Raises:
            FileFormatError: There is no such column.
        """
        if name not in self.columns:
            raise FileFormatError(f"{self.name} has no column {name!r}. Choose one of {_listed(self.columns)}.")
        return self.cells[self.columns.index(name)]

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns in which some text stands, in the file's order."""
        columns = zip(self.columns, self.cells, strict=True)
        return tuple(name for name, cells in columns if any(isinstance(cell, str) for cell in cells))

    @property
    def text_column(self) -> str:
        """Which column most likely holds the texts: by its name, else the one of the longest texts."""
        candidates = self.text_columns
        named = first_named(_TEXT_NAMES, candidates)
        return named or max(candidates, key=lambda name: _mean_length(self.column(name)))

    @property
    def title_column(self) -> str | None:
        """Which column most likely holds titles, by its name alone."""
        title = first_named(_TITLE_NAMES, self.text_columns)
        return title if title != self.text_column else None


def read_table(
    path: Path,
    *,
    name: str,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
    bad_rows: BadRows = "skip",
    has_menus: bool = True,
    max_rows: int = MAX_ROWS,
) -> SourceTable:
    """Read a file by the ending of its name: .csv, .tsv, .jsonl, .ndjson, .parquet, or .txt (a text a line).

    Args:
        path: The file on the server.
        name: The visitor's name for it, used in messages.
        encoding: That of a byte order mark, else UTF-8, if None.
        delimiter: Between the cells of CSV; a comma, or a tab in .tsv, or what its first line says, if None.
        quotes: What a quote means in CSV; what it can only mean, if None.
        bad_rows: Leave unreadable rows out, or refuse the file.
        has_menus: Whether the page lets a visitor choose how this file is read.
        max_rows: More are refused.

    Raises:
        FileFormatError: Its content does not match its ending, or no row holds a text.
        LimitError: It has too many rows, cells or characters.
    """
    ending = PurePath(name).suffix.lower()
    if ending not in RECORD_ENDINGS:
        known = ", ".join(sorted(RECORD_ENDINGS))
        raise FileFormatError(f"{name} ends in {ending or 'nothing'!r}. A file of texts ends in one of {known}.")
    if ending not in PARQUET and path.stat().st_size > _BYTES_OF_A_CHARACTER * MAX_CHARACTERS:
        raise _too_many_characters(name)
    source = rewritten(path, max_rows) if ending in PARQUET else nullcontext(path)
    try:
        with source as file:
            records = open_records(
                file,
                ending,
                encoding=encoding,
                delimiter=delimiter,
                quotes=quotes,
                skip_bad_bytes=bad_rows == "skip",
                max_columns=MAX_COLUMNS,
                max_line_chars=MAX_LINE_CHARACTERS,
            )
            _refuse_unfit(name, records)
            row_word = "row" if ending in PARQUET else "line"
            table = table_of(records, name, bad_rows=bad_rows, max_rows=max_rows, row_word=row_word)
    except FileFormatError as error:
        raise with_shown_name(error, path, name, has_menus=has_menus) from error
    _refuse_textless(table)
    return table


def table_of(
    records: Records, name: str, *, bad_rows: BadRows = "skip", max_rows: int = MAX_ROWS, row_word: str = "row"
) -> SourceTable:
    """Rows as they are read, as a table.

    Args:
        records: The rows.
        name: What they come from, used in messages.
        bad_rows: Leave unreadable rows out, or refuse them all.
        max_rows: More are refused.
        row_word: What a row is called.

    Raises:
        FileFormatError: There are no rows.
        LimitError: There are too many rows, cells or characters.
    """
    reading = _Reading(name, bad_rows, max_rows, row_word)
    reading.add_columns(records.columns)
    with closing(records.rows):  # a file that is refused halfway is closed at once
        for record in records.rows:
            reading.add(record)
    return reading.table(tuple(f"Not offered: {column!r} ({kind})." for column, kind in records.unfit.items()))


def read_pasted(text: str, *, max_rows: int = MAX_ROWS) -> SourceTable:
    """Plain lines, one text a line; blank ones count as empty, but not those at the end.

    Raises:
        TextError: There is no text in it.
        LimitError: There are too many lines or characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise _too_many_characters(PASTED)
    pasted = split_texts(text, "")
    if not pasted:
        raise TextError("There is nothing to read. Paste one text per line, or choose a file.")
    rows = {**dict.fromkeys(pasted.empty, ""), **dict(zip(map(int, pasted.labels), pasted.texts, strict=True))}
    if len(rows) > max_rows:
        raise _too_many_rows(PASTED, max_rows)
    lines = tuple(sorted(rows))
    return SourceTable(PASTED, (LINE_COLUMN,), (tuple(rows[line] for line in lines),), lines)


def choose_columns(table: SourceTable, text: str, title: str | None = None) -> Corpus:
    """The texts of a table's column, with their titles.

    Args:
        table: From `read_table` or `read_pasted`.
        text: Column of the texts; rows without a text are counted and left out.
        title: Column of titles, which are put in front of the texts.

    Raises:
        FileFormatError: There is no such column, or a text is no text and such rows are refused.
        TextError: No row has a text.
    """
    cells = table.column(text)
    rows = [row for row, cell in enumerate(cells) if isinstance(cell, str)]
    empty = find_bad_texts([cells[row] for row in rows])
    filled = [row for index, row in enumerate(rows) if index not in empty]
    bad = [
        f"{table.row_word} {table.lines[row]}: {text!r} is not text but {cell.kind}"
        for row, cell in enumerate(cells)
        if isinstance(cell, NotText)
    ]
    if not filled:
        raise TextError(_nothing_in(table, text, len(cells) - len(rows) - len(bad), len(empty), len(bad)))
    if bad and table.on_bad_rows == "refuse":
        raise _refused(table.name, bad[0])
    cells_of_titles = None if title is None else table.column(title)
    return Corpus(
        source=table.name,
        texts=tuple(str(cells[row]) for row in filled),
        lines=tuple(table.lines[row] for row in filled),
        titles=None if cells_of_titles is None else tuple(as_text(cells_of_titles[row]) for row in filled),
        text_name=text,
        title_name=title,
        n_missing=sum(cell is None for cell in cells),
        n_empty=len(empty),
        bad_rows=(*table.bad_rows, *bad),
        row_word=table.row_word,
        n_source_rows=table.n_source_rows,
    )


def with_shown_name(error: FileFormatError, path: Path, name: str, *, has_menus: bool = True) -> FileFormatError:
    """The error in terms of the page: with the visitor's file name, and menus in place of options."""
    if not isinstance(error, FileOptionError):
        return FileFormatError(str(error).replace(str(path), name))
    advice = _MENU_ADVICE[error.option] if has_menus else _SAVE_ADVICE
    if isinstance(error, FileEncodingError):
        return FileEncodingError(error.fact.replace(str(path), name), advice)
    return FileOptionError(error.fact.replace(str(path), name), advice, error.option)


def _refuse_unfit(name: str, records: Records) -> None:
    """Refuse a file whose texts plainly stand in a column that is no text: no other is meant."""
    wanted = DEFAULT_COLUMN if DEFAULT_COLUMN in records.unfit else first_named(_TEXT_NAMES, tuple(records.unfit))
    if wanted == DEFAULT_COLUMN or (wanted is not None and first_named(_TEXT_NAMES, records.columns) is None):
        raise FileFormatError(unfit_message(name, wanted, records.unfit[wanted]))


def _refuse_textless(table: SourceTable) -> None:
    """Refuse a table whose column of texts, or all columns, hold none."""
    if DEFAULT_COLUMN in table.columns and DEFAULT_COLUMN not in table.text_columns:
        kinds = sorted({cell.kind for cell in table.column(DEFAULT_COLUMN) if isinstance(cell, NotText)})
        what = f"is no text but {' and '.join(kinds)}" if kinds else "has no value at all"
        raise FileFormatError(f"Column {DEFAULT_COLUMN!r} of {table.name} {what}. Save it as text.")
    if not table.text_columns:
        raise FileFormatError(f"{table.name} has no column of text. Its columns: {_listed(table.columns) or 'none'}.")


class _Reading:
    """Collects the rows of a file within the limits."""

    def __init__(self, name: str, on_bad_rows: BadRows, max_rows: int, row_word: str) -> None:
        self._name = name
        self._on_bad_rows = on_bad_rows
        self._max_rows = max_rows
        self._row_word = row_word
        self._columns: dict[str, None] = {}
        self._rows: list[Mapping[str, Cell]] = []
        self._lines: list[int] = []
        self._bad: list[str] = []
        self._n_characters = 0

    def add_columns(self, names: Sequence[str]) -> None:
        self._columns |= dict.fromkeys(names)
        if len(self._columns) > MAX_COLUMNS:
            raise LimitError(
                f"{self._name} has more than the {MAX_COLUMNS:,} columns taken at once here. Leave columns out that "
                "are not needed."
            )

    def add(self, record: Record) -> None:
        if len(self._rows) + len(self._bad) >= self._max_rows:
            raise _too_many_rows(self._name, self._max_rows)
        if record.problem:
            if self._on_bad_rows == "refuse":
                raise _refused(self._name, record.problem)
            self._bad.append(record.problem)
            return
        self._rows.append(record.cells)
        self._lines.append(record.line)
        self.add_columns(tuple(record.cells))
        self._n_characters += sum(len(as_text(cell)) for cell in record.cells.values())
        if self._n_characters > MAX_CHARACTERS:
            raise _too_many_characters(self._name)
        if len(self._columns) * len(self._rows) > MAX_CELLS:
            raise LimitError(
                f"{self._name} has {len(self._columns):,} columns; with its rows that makes more than the "
                f"{MAX_CELLS:,} cells taken at once here. Leave columns out that are not needed."
            )

    def table(self, notes: tuple[str, ...]) -> SourceTable:
        if not self._rows:
            what = f"has no row that can be read; {self._bad[0]}" if self._bad else "names columns but has no rows"
            raise FileFormatError(f"{self._name} {what if self._columns or self._bad else 'has no rows'}.")
        columns = tuple(self._columns)
        return SourceTable(
            name=self._name,
            columns=columns,
            cells=tuple(tuple(row.get(name) for row in self._rows) for name in columns),
            lines=tuple(self._lines),
            bad_rows=tuple(self._bad),
            on_bad_rows=self._on_bad_rows,
            row_word=self._row_word,
            notes=notes,
        )


def as_text(cell: Cell) -> str:
    """A cell as text that a page can show; "" for an empty cell or one that has no text form."""
    return replace_surrogates((cell.shown if isinstance(cell, NotText) else cell) or "")


def _mean_length(cells: Sequence[Cell]) -> float:
    return statistics.fmean(len(cell) if isinstance(cell, str) else 0 for cell in cells[:_ROWS_LOOKED_AT])


def first_named(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The column with the earliest of these names."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _refused(name: str, problem: str) -> FileFormatError:
    return FileFormatError(f"{name}: {problem}. Correct it, or let such rows be left out.")


def _nothing_in(table: SourceTable, column: str, n_missing: int, n_empty: int, n_bad: int) -> str:
    others = [name for name in table.text_columns if name != column]
    advice = f" Choose another column: {_listed(others)}." if others else ""
    counts = {"without a value": n_missing, "empty": n_empty, "not text": n_bad}
    parts = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return f"No row of {table.name} holds a text in column {column!r} ({parts}).{advice}"


def _too_many_rows(name: str, max_rows: int) -> LimitError:
    return LimitError(f"{name} has more than the {max_rows:,} rows taken at once here. {_ELSEWHERE}")


def _too_many_characters(name: str) -> LimitError:
    return LimitError(f"{name} has more than the {MAX_CHARACTERS:,} characters taken at once here. {_ELSEWHERE}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
