"""Every cell of a file of rows: lines, CSV, JSONL or Parquet, a row at a time.

Which column holds the texts is for others to say. A row that cannot be read keeps its line and says
what is wrong; what concerns the whole file (encoding, header, an unclosed quote) is an error.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError
from e5studio.files.decoding import decoded, text_encoding
from e5studio.files.delimited import DELIMITERS, csv_header, csv_records
from e5studio.files.json_lines import json_object
from e5studio.files.parquet import parquet_cells, scalar_columns

LINES = (".txt",)
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet",)
RECORD_ENDINGS = (*DELIMITERS, *JSON_LINES, *PARQUET, *LINES)
LINE_COLUMN = "text"
"""What the only column of plain lines is called."""


@dataclass(frozen=True, slots=True)  # a file may hold millions
class NotText:
    """A value that is no text.

    Attributes:
        kind: Its type's name, such as "int" or "list".
        shown: The value as text; None where it is no single value.
    """

    kind: str
    shown: str | None


Cell = str | NotText | None
Rows = Generator["Record", None, None]


@dataclass(frozen=True)
class Record:
    """One row of a file.

    Attributes:
        line: Line on which it begins, from 1; in Parquet the row, from 1.
        cells: What stands in its columns; a column that is missing here holds nothing.
        problem: Why it cannot be read, "" where it can.
    """

    line: int
    cells: Mapping[str, Cell] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Records:
    """A file's rows.

    Attributes:
        columns: Its columns; none where only the rows tell (JSONL).
        rows: The rows in the file's order, read as they are asked for, once.
    """

    columns: tuple[str, ...]
    rows: Rows


def open_records(
    path: Path,
    ending: str,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    max_columns: int | None = None,
    max_line_chars: int | None = None,
) -> Records:
    """Open a file by an ending, which need not be that of its own name.

    Args:
        path: The file.
        ending: One of RECORD_ENDINGS.
        encoding: Its encoding; where None, what a byte order mark says, else UTF-8.
        delimiter: What separates the cells of CSV; a comma, or a tab for .tsv, where None.
        max_columns: More in a header are refused; any number is taken where None.
        max_line_chars: A longer line of JSONL is a bad row; any length is read where None.

    Raises:
        FileFormatError: It cannot be read as what the ending says; also while rows are asked for.
    """
    if ending in PARQUET:
        kinds = scalar_columns(path, max_columns)
        return Records(tuple(kinds), _parquet_records(path, kinds))
    encoding = text_encoding(path, encoding)
    if ending in LINES:
        return Records((LINE_COLUMN,), _lines(path, encoding))
    if ending in JSON_LINES:
        return Records((), _json_records(path, encoding, max_line_chars))
    if ending not in DELIMITERS:
        known = ", ".join(sorted(RECORD_ENDINGS))
        raise FileFormatError(f"{path} ends in {ending or 'nothing'!r}. Rows are read from {known}.")
    separator = delimiter or DELIMITERS[ending]
    if len(separator) != 1 or separator in '\r\n"':
        raise FileFormatError(f"{separator!r} cannot separate cells. Give one character, such as , or ; or a tab.")
    columns = _named(csv_header(path, encoding, separator, max_columns=max_columns))
    return Records(columns, _csv_rows(path, encoding, separator, columns))


def _lines(path: Path, encoding: str) -> Rows:
    # File iteration breaks at \n, \r and \r\n alone; str.splitlines would also break at U+2028.
    with decoded(path, encoding, newline=None) as file:
        for line, text in enumerate(file, 1):
            yield Record(line, {LINE_COLUMN: text.removesuffix("\n")})


def _csv_rows(path: Path, encoding: str, delimiter: str, columns: tuple[str, ...]) -> Rows:
    records = csv_records(path, encoding, delimiter)
    next(records)  # the header
    for line, cells in records:
        if len(cells) == len(columns):
            yield Record(line, dict(zip(columns, cells, strict=True)))
        else:
            yield Record(line, problem=f"line {line} has {len(cells)} cells, the header {len(columns)}")


def _json_records(path: Path, encoding: str, max_chars: int | None) -> Rows:
    with decoded(path, encoding, newline=None) as file:
        for line, content in enumerate(file, 1):
            if not content.strip():
                continue
            try:
                found = json_object(content, max_chars)
            except ValueError as error:
                yield Record(line, problem=f"line {line} is {error}")
            else:
                yield Record(line, {name: _json_cell(value) for name, value in found.items()})


def _json_cell(value: Any) -> Cell:
    if value is None or isinstance(value, str):
        return value
    is_single = not isinstance(value, list | dict)
    return NotText(type(value).__name__, str(value) if is_single else None)


def _parquet_records(path: Path, kinds: dict[str, str]) -> Rows:
    row = 0
    for columns in parquet_cells(path, kinds):
        for cells in zip(*columns, strict=True):
            row += 1
            pairs = zip(kinds.items(), cells, strict=True)
            yield Record(row, {name: _parquet_cell(kind, cell) for (name, kind), cell in pairs})


def _parquet_cell(kind: str, cell: str | None) -> Cell:
    return cell if cell is None or kind == "text" else NotText(kind, cell)


def _named(header: list[str]) -> tuple[str, ...]:
    """The names of the columns; a column without one, as spreadsheets leave them, is called by its place."""
    taken = set(header)
    names = []
    for place, name in enumerate(header, 1):
        given = name or f"column {place}"
        while not name and given in taken:
            given += " "
        names.append(given)
    return tuple(names)
