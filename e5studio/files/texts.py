"""The texts of a file: one column of its records.

A row without a usable text stays in the sequence and says why, so that rows and vectors stay aligned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from e5studio.errors import FileFormatError, NoRowsError
from e5studio.files.compression import ending_of
from e5studio.files.delimited import Quotes
from e5studio.files.parquet import parquet_columns, unfit_message
from e5studio.files.records import JSON_LINES, LINES, PARQUET, NotText, Record, Records, open_records

RowProblem = Literal["missing", "bad_type", "bad_row"]

DEFAULT_COLUMN = "text"


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        line: Line on which it begins, from 1; in Parquet the row, from 1.
        text: The text, or None where there is a problem.
        problem: "missing" (no value), "bad_type" (a value, but no text), "bad_row" (cannot be read), or None.
        detail: The problem in words, "" where there is none.
    """

    line: int
    text: str | None
    problem: RowProblem | None = None
    detail: str = ""


@dataclass(frozen=True)
class TextSource:
    """A file of texts whose column is known; it has not been read through.

    Attributes:
        path: The file.
        column: The column of its texts.
        columns: All columns; empty for JSONL, which has no header, and the one of the texts for Parquet.
    """

    path: Path
    column: str
    columns: tuple[str, ...]
    _open: Callable[[], Records]
    _unit: str

    def records(self) -> Iterator[Record]:
        """The rows with all their cells, of Parquet with that of the text, read lazily."""
        yield from self._open().rows

    def row_of(self, record: Record) -> Row:
        """The text of a record."""
        return _row(record, self.column, self._unit)

    def rows(self) -> Iterator[Row]:
        """The rows in the file's order, read lazily."""
        return map(self.row_of, self.records())

    def count(self, see: Callable[[Record], object] | None = None) -> int:
        """Read the file through, so that a damaged end is reported before hours of work, not after.

        Args:
            see: Called with each record.

        Returns:
            Number of rows, including those with a problem.

        Raises:
            NoRowsError: There is none.
            FileFormatError: It cannot be read to its end, or no row holds a text.
        """
        n_rows = n_texts = 0
        first_detail = ""
        for record in self.records():
            if see is not None:
                see(record)
            row = self.row_of(record)
            n_rows += 1
            n_texts += row.text is not None
            first_detail = first_detail or row.detail
        if not n_rows:
            raise NoRowsError(f"{self.path} has no rows.")
        if not n_texts:
            raise FileFormatError(f"No row of {self.path} holds a text; the first says: {first_detail}.")
        return n_rows


@dataclass(frozen=True)
class TextFile:
    """A file of texts that was read through once without an error.

    Attributes:
        path: The file.
        n_rows: Number of rows, including those with a problem.
    """

    path: Path
    n_rows: int
    _source: TextSource

    def rows(self) -> Iterator[Row]:
        """The rows in the file's order, read lazily."""
        return self._source.rows()


def open_texts(
    path: Path,
    *,
    column: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
    skip_bad_bytes: bool = False,
) -> TextFile:
    """Open a file of texts as `find_texts`, and read the whole file once.

    Raises:
        FileFormatError: It cannot be read as its ending says, or no row holds a text.
        OSError: It cannot be opened.
    """
    source = find_texts(
        path, column=column, encoding=encoding, delimiter=delimiter, quotes=quotes, skip_bad_bytes=skip_bad_bytes
    )
    return TextFile(path, source.count(), source)


def find_texts(
    path: Path,
    *,
    column: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
    skip_bad_bytes: bool = False,
) -> TextSource:
    """Choose the texts of a file by its ending: .txt (a text a line), .csv, .tsv, .jsonl, .ndjson or .parquet.

    All but Parquet may be compressed: .csv.gz, .jsonl.zst.

    Args:
        path: The file.
        column: Column (CSV, Parquet) or field (JSONL) of the texts; None: "text", or the only one.
        encoding: Its encoding; None: as a byte order mark says, else UTF-8.
        delimiter: Separates the cells of CSV; None: a comma, or a tab for .tsv, or what its first line says.
        quotes: What a quote means in CSV: "doubled" inside a cell in quotes, after a "backslash" there, or "literal", a
            character; None: what it can only mean.
        skip_bad_bytes: Whether a byte that is invalid in the encoding spoils its row only, and not the file.

    Raises:
        FileFormatError: It cannot be read as its ending says.
        OSError: It cannot be opened.
    """
    if str(path) == "-":
        raise FileFormatError("Texts are not read from standard input. Give a file.")
    ending = ending_of(path)
    if ending in LINES and column is not None:
        raise FileFormatError(f"{path} is read as plain lines, which have no column {column!r}. Leave --column out.")
    if ending in PARQUET and path.suffix.lower() not in PARQUET:
        raise FileFormatError(f"{path} is a compressed Parquet file, which compresses by itself. Decompress it first.")
    only_columns = [_choose_parquet_column(path, column)] if ending in PARQUET and not path.is_dir() else None
    open_again = functools.partial(
        open_records,
        path,
        ending,
        encoding=encoding,
        delimiter=delimiter,
        quotes=quotes,
        skip_bad_bytes=skip_bad_bytes,
        only_columns=only_columns,
    )
    columns: tuple[str, ...] = ()
    if ending in JSON_LINES:
        column = column or DEFAULT_COLUMN
    elif only_columns is not None:
        [column] = columns = tuple(only_columns)
    else:
        records = open_again()
        columns, column = records.columns, _choose_column(path, records, column)
    return TextSource(path, column, columns, open_again, "row" if ending in PARQUET else "line")


def _choose_column(path: Path, records: Records, requested: str | None) -> str:
    column = requested or DEFAULT_COLUMN
    if column in records.columns:
        return column
    if requested is None and len(records.columns) == 1:
        return records.columns[0]
    for _ in records.rows:  # what makes it no table, such as a title above the header, is the better explanation
        pass
    listed = _quoted(records.columns)
    raise FileFormatError(f"{path} has no column {column!r}. Its columns: {listed}. Choose one with --column.")


def _choose_parquet_column(path: Path, requested: str | None) -> str:
    columns = parquet_columns(path)
    described = {**columns.kinds, **columns.unfit}
    listed = ", ".join(f"{name!r} ({kind})" for name, kind in list(described.items())[:20])
    of_text = [name for name, kind in columns.kinds.items() if kind == "text"]
    column = requested or DEFAULT_COLUMN
    if column in of_text:
        return column
    if column in described:
        raise FileFormatError(unfit_message(path, column, described[column], of_text))
    if not of_text:
        raise FileFormatError(f"{path} has no column of text. Its columns: {listed}.")
    if requested is None and len(of_text) == 1 and not columns.may_hold_text:
        return of_text[0]
    raise FileFormatError(f"{path} has no column {column!r}. Its columns: {listed}. Choose one with --column.")


def _row(record: Record, column: str, unit: str) -> Row:
    line, cell = record.line, record.cells.get(column)
    if record.problem:
        return Row(line, None, "bad_row", record.problem)
    if isinstance(cell, NotText):
        return Row(line, None, "bad_type", f"{unit} {line}: {column!r} is not text but {cell.kind}")
    if cell is not None:
        return Row(line, cell)
    if column in record.cells:
        return Row(line, None, "missing", f"{unit} {line}: the value of {column!r} is null")
    fields = _quoted(list(record.cells)[:20]) or "no field at all"
    return Row(line, None, "missing", f"{unit} {line} has no {column!r}, but {fields}")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
