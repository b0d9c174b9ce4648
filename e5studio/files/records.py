"""The rows of a file with all their cells: plain lines, CSV, JSONL or Parquet, one row at a time.

The one reader of texts for the command line, the Studio and evaluation. A row that cannot be read keeps its line number
and a description of the problem. A problem of the whole file (encoding, header, an unclosed quote) is an error.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError
from e5studio.files.compression import COMPRESSIONS
from e5studio.files.decoding import BadBytes, decoded_lines, has_bad_byte, text_encoding
from e5studio.files.delimited import Quotes
from e5studio.files.dialect import DELIMITERS, decide_dialect
from e5studio.files.json_lines import json_objects
from e5studio.files.line_ends import LineEnds
from e5studio.files.parquet import parquet_cells, parquet_columns
from e5studio.files.table_rows import open_rows

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
        value: The value itself, where it comes from JSON.
    """

    kind: str
    shown: str | None
    value: Any = field(default=None, compare=False)


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
        unfit: Columns of Parquet whose values cannot be written as text, and their types.
    """

    columns: tuple[str, ...]
    rows: Rows
    unfit: Mapping[str, str] = field(default_factory=dict)


def open_records(
    path: Path,
    ending: str,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
    skip_bad_bytes: bool = False,
    only_columns: Sequence[str] | None = None,
    max_columns: int | None = None,
    max_line_chars: int | None = None,
) -> Records:
    """Open a file of rows.

    Args:
        path: The file.
        ending: How to read it, one of RECORD_ENDINGS; the file's own name may end in something else.
        encoding: Its encoding; None: as a byte order mark says, else UTF-8.
        delimiter: Separates the cells of CSV; None: a comma, or a tab for .tsv, or what its first line says.
        quotes: What a quote means in CSV; None: what it can only mean.
        skip_bad_bytes: Whether a byte that is invalid in the encoding spoils its row only, and not the file.
        only_columns: The columns to read from Parquet; None: all of text, numbers and other single values.
        max_columns: Most columns in a header; None: no limit.
        max_line_chars: Most characters in a line of JSONL, a longer one is a bad row; None: no limit.

    Raises:
        FileFormatError: It cannot be read as the ending says; also raised while rows are read.
    """
    if path.is_dir():
        raise FileFormatError(_folder_message(path))
    if ending not in RECORD_ENDINGS:
        known = ", ".join(sorted(RECORD_ENDINGS))
        raise FileFormatError(
            f"{path} ends in {ending or 'nothing'!r}. Texts are read from {known}, and all but Parquet also from "
            f"{' and '.join(COMPRESSIONS)} of them."
        )
    if ending in PARQUET and path.suffix.lower() in COMPRESSIONS:
        raise FileFormatError(
            f"{path} is a compressed Parquet file. Parquet compresses by itself: decompress it first."
        )
    if ending in PARQUET:
        columns = parquet_columns(path, max_columns)
        kinds = columns.kinds if only_columns is None else {name: columns.kinds[name] for name in only_columns}
        return Records(tuple(columns.kinds), _parquet_records(path, kinds), columns.unfit)
    if ending in DELIMITERS:
        dialect = decide_dialect(
            path, ending, encoding=encoding, delimiter=delimiter, quotes=quotes, skip_bad_bytes=skip_bad_bytes
        )
        names, rows = open_rows(path, dialect, skip_bad_bytes=skip_bad_bytes, max_columns=max_columns)
        return Records(names, (Record(line, cells, problem) for line, cells, problem in rows))
    known_encoding = text_encoding(path, encoding)
    if ending in LINES:
        return Records((LINE_COLUMN,), _line_records(path, known_encoding, skip_bad_bytes))
    return Records((), _json_records(path, known_encoding, skip_bad_bytes, max_line_chars))


def _folder_message(path: Path) -> str:
    files = sorted(each.name for each in path.iterdir() if each.suffix.lower() in RECORD_ENDINGS)
    if files:
        return f"{path} is a folder, as Spark writes it. Give one of its files, such as {path / files[0]}."
    return f"{path} is a folder. Give a file of texts in it."


def _line_records(path: Path, encoding: str, skip_bad_bytes: bool) -> Rows:
    line_ends, bad_bytes = LineEnds(), BadBytes(path, encoding)
    for line, content in enumerate(decoded_lines(path, encoding, skip_bad_bytes=skip_bad_bytes), 1):
        text = content.rstrip("\r\n")
        if content == "\r":
            line_ends.pass_blank()
        unclear_end = line_ends.problem(line, content[len(text) :]) if text else ""
        problem = bad_bytes.problem(line, is_bad=skip_bad_bytes and has_bad_byte(text)) or unclear_end
        yield Record(line, problem=problem) if problem else Record(line, {LINE_COLUMN: text})
    bad_bytes.check()


def _json_records(path: Path, encoding: str, skip_bad_bytes: bool, max_chars: int | None) -> Rows:
    for line, content in json_objects(path, encoding, max_chars=max_chars, skip_bad_bytes=skip_bad_bytes):
        if isinstance(content, str):
            yield Record(line, problem=content)
        else:
            yield Record(line, {name: _json_cell(value) for name, value in content.items()})


def _json_cell(value: Any) -> Cell:
    if value is None or isinstance(value, str):
        return value
    is_single = not isinstance(value, list | dict)
    return NotText(type(value).__name__, str(value) if is_single else None, value)


def _parquet_records(path: Path, kinds: dict[str, str]) -> Rows:
    rows = (cells for columns in parquet_cells(path, kinds) for cells in zip(*columns, strict=True))
    for row, cells in enumerate(rows, 1):
        yield parquet_record(row, cells, kinds)


def parquet_record(row: int, cells: Sequence[str | None], kinds: Mapping[str, str]) -> Record:
    """A row of Parquet, from cells as `parquet.batch_cells` gives them."""
    pairs = zip(kinds.items(), cells, strict=True)
    return Record(row, {name: _parquet_cell(cell, kind) for (name, kind), cell in pairs})


def _parquet_cell(cell: str | None, kind: str) -> Cell:
    if cell is not None and has_bad_byte(cell):
        return NotText("bytes that are no UTF-8", None)
    return cell if cell is None or kind == "text" else NotText(kind, cell)
