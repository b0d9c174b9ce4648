"""The rows of a file with all their cells: plain lines, CSV, JSONL or Parquet, one row at a time.

A row that cannot be read keeps its line number and a description of the problem. A problem of the
whole file (encoding, header, an unclosed quote) is an error.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError
from e5studio.files.decoding import decoded, text_encoding
from e5studio.files.delimited import DELIMITERS, csv_header, csv_records
from e5studio.files.json_lines import json_objects
from e5studio.files.parquet import parquet_cells, scalar_columns

LINES = (".txt",)
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet",)
RECORD_ENDINGS = (*DELIMITERS, *JSON_LINES, *PARQUET, *LINES)
LINE_COLUMN = "text"
"""Name of the only column of plain lines."""


@dataclass(frozen=True, slots=True)  # a file may hold millions
class NotText:
    """A value that is not text.

    Attributes:
        kind: Name of its type, such as "int" or "list".
        shown: The value as text; None for a list or an object.
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
        cells: Its cells by column; JSONL may leave columns out.
        problem: Why it cannot be read; "" if it can.
    """

    line: int
    cells: Mapping[str, Cell] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Records:
    """The rows of a file.

    Attributes:
        columns: Its columns; empty for JSONL, which has no header.
        rows: The rows in the file's order, read lazily and once.
    """

    columns: tuple[str, ...]
    rows: Rows


def open_records(
    path: Path,
    ending: str,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    parquet_columns: Sequence[str] | None = None,
    max_columns: int | None = None,
    max_line_chars: int | None = None,
) -> Records:
    """Open a file of rows.

    Args:
        path: The file.
        ending: How to read it, one of RECORD_ENDINGS; the file's own name may end in something else.
        encoding: Its encoding; None: as a byte order mark says, else UTF-8.
        delimiter: Separates the cells of CSV; None: a comma, or a tab for .tsv.
        parquet_columns: The columns to read from Parquet; None: all of text, numbers and other single values.
        max_columns: Most columns in a header; None: no limit.
        max_line_chars: Most characters in a line of JSONL, a longer one is a bad row; None: no limit.

    Raises:
        FileFormatError: It cannot be read as the ending says; also raised while rows are read.
    """
    if ending in PARQUET:
        kinds = scalar_columns(path, max_columns)
        kinds = kinds if parquet_columns is None else {name: kinds[name] for name in parquet_columns}
        return Records(tuple(kinds), _parquet_records(path, kinds))
    if ending not in RECORD_ENDINGS:
        known = ", ".join(sorted(RECORD_ENDINGS))
        raise FileFormatError(f"{path} ends in {ending or 'nothing'!r}. Texts are read from {known}.")
    encoding = text_encoding(path, encoding)
    if ending in LINES:
        return Records((LINE_COLUMN,), _line_records(path, encoding))
    if ending in JSON_LINES:
        return Records((), _json_records(path, encoding, max_line_chars))
    separator = delimiter or DELIMITERS[ending]
    if len(separator) != 1 or separator in '\r\n"':
        raise FileFormatError(f"{separator!r} cannot separate cells. Give one character, such as , or ; or a tab.")
    columns = _with_names(csv_header(path, encoding, separator, max_columns=max_columns))
    return Records(columns, _csv_records(path, encoding, separator, columns))


def _line_records(path: Path, encoding: str) -> Rows:
    # File iteration breaks at \n, \r and \r\n alone; str.splitlines would also break at U+2028.
    with decoded(path, encoding, newline=None) as file:
        for line, text in enumerate(file, 1):
            yield Record(line, {LINE_COLUMN: text.removesuffix("\n")})


def _csv_records(path: Path, encoding: str, delimiter: str, columns: tuple[str, ...]) -> Rows:
    records = csv_records(path, encoding, delimiter)
    next(records)  # the header
    for line, cells in records:
        if len(cells) == len(columns):
            yield Record(line, dict(zip(columns, cells, strict=True)))
        else:
            yield Record(line, problem=f"line {line} has {len(cells)} cells, the header {len(columns)}")


def _json_records(path: Path, encoding: str, max_chars: int | None) -> Rows:
    for line, content in json_objects(path, encoding, max_chars=max_chars):
        if isinstance(content, str):
            yield Record(line, problem=content)
        else:
            yield Record(line, {name: _json_cell(value) for name, value in content.items()})


def _json_cell(value: Any) -> Cell:
    if value is None or isinstance(value, str):
        return value
    is_single = not isinstance(value, list | dict)
    return NotText(type(value).__name__, str(value) if is_single else None)


def _parquet_records(path: Path, kinds: dict[str, str]) -> Rows:
    rows = (cells for columns in parquet_cells(path, kinds) for cells in zip(*columns, strict=True))
    for row, cells in enumerate(rows, 1):
        pairs = zip(kinds.items(), cells, strict=True)
        yield Record(
            row,
            {name: cell if cell is None or kind == "text" else NotText(kind, cell) for (name, kind), cell in pairs},
        )


def _with_names(header: list[str]) -> tuple[str, ...]:
    """The names of the columns; one without a name, as spreadsheets leave them, gets its number as a name."""
    taken = set(header)
    names = []
    for number, title in enumerate(header, 1):
        name = title or f"column {number}"
        while not title and name in taken:
            name += " "
        names.append(name)
    return tuple(names)
