"""Rows of text out of a file: lines, CSV, JSONL or Parquet, one at a time.

A row that cannot be read keeps its place and says why, so that rows and vectors stay
aligned. What concerns the whole file (encoding, header, an unclosed quote) is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from e5studio.errors import FileFormatError
from e5studio.files.decoding import decoded, text_encoding
from e5studio.files.delimited import DELIMITERS, csv_header, csv_records
from e5studio.files.json_lines import json_object
from e5studio.files.parquet import open_parquet, text_columns

RowProblem = Literal["missing", "bad_type", "bad_row"]
Rows = Iterator["Row"]

DEFAULT_COLUMN = "text"
_LINES = {".txt"}
_JSON_LINES = {".jsonl", ".ndjson"}
_PARQUET = {".parquet"}


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
class TextFile:
    """A file of texts that has been read through once and found to be in order.

    Attributes:
        path: The file.
        column: Column or field of the texts; None for plain lines.
        n_rows: Rows, those with a problem included.
    """

    path: Path
    column: str | None
    n_rows: int
    _read: Callable[[], Rows]

    def rows(self) -> Rows:
        """The rows in the file's order, read as they are asked for."""
        return self._read()


def open_texts(
    path: Path, *, column: str | None = None, encoding: str | None = None, delimiter: str | None = None
) -> TextFile:
    """Open a file of texts by its ending: .txt (a text a line), .csv, .tsv, .jsonl, .ndjson or .parquet.

    The whole file is read once here, so that a damaged end shows before hours of work, not after.

    Args:
        path: The file.
        column: Column (CSV, Parquet) or field (JSONL) that holds the texts; "text", or the only one, where None.
        encoding: Its encoding; where None, what a byte order mark says, else UTF-8.
        delimiter: What separates the cells of a CSV file; a comma, or a tab in .tsv, where None.

    Raises:
        FileFormatError: It cannot be read as what its ending says, or no row of it holds a text.
        OSError: It cannot be opened.
    """
    kind = path.suffix.lower()
    if kind in _PARQUET:
        return _open_parquet_texts(path, column)
    if str(path) == "-":
        raise FileFormatError("Texts are not read from standard input. Give a file.")
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder. Give a file of texts in it.")
    known = {*_LINES, *DELIMITERS, *_JSON_LINES, *_PARQUET}
    if kind not in known:
        raise FileFormatError(f"{path} ends in {kind or 'nothing'!r}. Texts are read from {', '.join(sorted(known))}.")
    if kind in _LINES and column is not None:
        raise FileFormatError(f"{path} is read as plain lines, which have no column {column!r}. Leave --column out.")
    encoding = text_encoding(path, encoding)
    if kind in _LINES:
        return _checked(path, None, functools.partial(_line_rows, path, encoding))
    if kind in _JSON_LINES:
        column = column or DEFAULT_COLUMN
        return _checked(path, column, functools.partial(_json_rows, path, encoding, column))
    separator = delimiter or DELIMITERS[kind]
    column = _choose_column(path, csv_header(path, encoding, separator), column)
    return _checked(path, column, functools.partial(_csv_rows, path, encoding, separator, column))


def _checked(path: Path, column: str | None, read: Callable[[], Rows]) -> TextFile:
    n_rows = n_texts = 0
    first_detail = ""
    for row in read():
        n_rows += 1
        n_texts += row.text is not None
        first_detail = first_detail or row.detail
    if not n_rows:
        raise FileFormatError(f"{path} has a header but no rows." if column else f"{path} holds no text.")
    if not n_texts:
        raise FileFormatError(f"No row of {path} holds a text; the first says: {first_detail}.")
    return TextFile(path, column, n_rows, read)


def _choose_column(path: Path, columns: Sequence[str], asked: str | None) -> str:
    wanted = DEFAULT_COLUMN if asked is None else asked
    if wanted in columns:
        return wanted
    if asked is None and len(columns) == 1:
        return columns[0]
    listed = ", ".join(repr(column) for column in columns)
    raise FileFormatError(f"{path} has no column {wanted!r}. Its columns: {listed}. Choose one with --column.")


def _line_rows(path: Path, encoding: str) -> Rows:
    # File iteration breaks at \n, \r and \r\n alone; str.splitlines would also break at U+2028.
    with decoded(path, encoding, newline=None) as file:
        for line, text in enumerate(file, 1):
            yield Row(line, text.removesuffix("\n"))


def _json_rows(path: Path, encoding: str, field: str) -> Rows:
    with decoded(path, encoding, newline=None) as file:
        for line, content in enumerate(file, 1):
            if content.strip():
                yield _json_row(line, content, field)


def _json_row(line: int, content: str, field: str) -> Row:
    try:
        record = json_object(content)
    except ValueError as error:
        return Row(line, None, "bad_row", f"line {line} is {error}")
    value = record.get(field)
    if isinstance(value, str):
        return Row(line, value)
    if value is not None:
        return Row(line, None, "bad_type", f"line {line}: {field!r} is not text but {type(value).__name__}")
    if field in record:
        return Row(line, None, "missing", f"line {line}: the value of {field!r} is null")
    fields = ", ".join(repr(name) for name in list(record)[:20])
    return Row(line, None, "missing", f"line {line} has no {field!r}, but {fields or 'no field at all'}")


def _csv_rows(path: Path, encoding: str, delimiter: str, column: str) -> Rows:
    records = csv_records(path, encoding, delimiter)
    header = [name.strip() for name in next(records)[1]]
    place = header.index(column)
    for line, cells in records:
        if len(cells) == len(header):
            yield Row(line, cells[place])
        else:
            detail = f"line {line} has {len(cells)} cells, the header {len(header)}"
            yield Row(line, None, "bad_row", detail)


def _open_parquet_texts(path: Path, asked: str | None) -> TextFile:
    columns = text_columns(path)
    if not any(columns.values()):
        raise FileFormatError(f"{path} has no column of text. Its columns: {', '.join(map(repr, columns))}.")
    texts = [name for name, is_text in columns.items() if is_text]
    column = _choose_column(path, texts if asked is None else list(columns), asked)
    if not columns[column]:
        raise FileFormatError(
            f"Column {column!r} of {path} does not hold text. These do: {', '.join(map(repr, texts))}."
        )
    return _checked(path, column, functools.partial(_parquet_rows, path, column))


def _parquet_rows(path: Path, column: str) -> Rows:
    line = 0
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=4096, columns=[column]):
            for text in batch.column(0).to_pylist():
                line += 1
                yield Row(line, text) if text is not None else Row(line, None, "missing", f"row {line} is null")
