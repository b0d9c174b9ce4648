r"""The grammar of CSV and TSV: lines of text -> rows of cells, each with the line on which it begins.

Python's csv module reads text behind a closing quote as if it belonged to the cell. Here it is a problem of its row, as
is everything else that no program writes. `dialect` decides which grammar a file has; this module follows it.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from e5studio.errors import FileFormatError
from e5studio.files.decoding import decoded_lines, has_bad_byte

MAX_CELL_CHARS = 16 * 1024 * 1024

Quotes = Literal["doubled", "backslash", "literal"]
"""What a quote means: it encloses a cell, and inside is doubled or follows a backslash; or it is a character."""

RowDefect = Literal["open", "after", "space", "byte", ""]


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are written.

    Attributes:
        encoding: From `text_encoding`.
        delimiter: One character.
        quotes: What a quote means.
        has_separator_line: Whether the first line says nothing but the delimiter, as `sep=;` does.
    """

    encoding: str
    delimiter: str
    quotes: Quotes = "doubled"
    has_separator_line: bool = False


class DelimitedRow(NamedTuple):
    r"""A row of a file.

    Attributes:
        line: Line on which it begins, from 1.
        cells: Its cells; not all of them where there is a problem.
        problem: "open" (a quote is never closed), "after" (text follows a closing quote), "space" (a space comes before
            an opening quote), "byte" (a byte does not fit the encoding), or "".
        last_line: Line on which it ends.
        line_end: What ends it: \n, \r\n, \r, or nothing at the end of the file.
        n_enclosed: How many cells stand in quotes.
        has_doubled: Whether a quote is doubled in one of these.
        raw: Its last line as it stands in the file.
        follows_return: Whether nothing but a carriage return stands between it and the row before.
    """

    line: int
    cells: list[str]
    problem: RowDefect
    last_line: int
    line_end: str
    n_enclosed: int
    has_doubled: bool
    raw: str
    follows_return: bool = False


def delimited_rows(
    path: Path, dialect: Dialect, *, skip_bad_bytes: bool = False
) -> Generator[DelimitedRow, None, None]:
    """The rows of a file, the header among them; blank lines are skipped.

    Args:
        path: The file.
        dialect: How its cells are written.
        skip_bad_bytes: Make a byte that is invalid in the encoding a problem of its row.

    Raises:
        FileEncodingError: Some byte is invalid in this encoding, unless such rows are skipped.
        FileFormatError: A cell is longer than MAX_CELL_CHARS.
    """
    with closing(decoded_lines(path, dialect.encoding, skip_bad_bytes=skip_bad_bytes)) as content:
        lines = enumerate(content, 1)
        if dialect.has_separator_line:
            next(lines, None)
        for row in _rows(path, lines, dialect):
            yield row._replace(problem="byte") if skip_bad_bytes and _has_bad_byte(row) else row


def _rows(path: Path, lines: Iterator[tuple[int, str]], dialect: Dialect) -> Iterator[DelimitedRow]:
    follows_return = False
    for number, line in lines:
        body = line.rstrip("\r\n")
        if not body:
            follows_return = follows_return or line == "\r"
            continue
        if dialect.quotes == "literal" or not ('"' in body or (dialect.quotes == "backslash" and "\\" in body)):
            row = DelimitedRow(number, body.split(dialect.delimiter), "", number, line[len(body) :], 0, False, line)
        else:
            row = _quoted_row(path, number, line, lines, dialect)
        yield row._replace(follows_return=True) if follows_return else row
        follows_return = False


def _has_bad_byte(row: DelimitedRow) -> bool:
    return has_bad_byte(row.raw) or (row.line < row.last_line and any(map(has_bad_byte, row.cells)))


class _Patterns(NamedTuple):
    """What the parts of a row match, from their beginning.

    Attributes:
        plain: A cell without quotes around it.
        enclosed: The rest of a cell in quotes, with the closing quote.
        escape: A sequence that stands for its one group, or for a quote.
    """

    plain: re.Pattern[str]
    enclosed: re.Pattern[str]
    escape: re.Pattern[str]


@functools.cache
def _patterns(delimiter: str, quotes: Quotes) -> _Patterns:
    separator = re.escape(delimiter)
    if quotes == "doubled":
        plain, enclosed, escape = rf"[^{separator}\r\n]*", r'[^"]*(?:""[^"]*)*"(?!")', '""'
    else:
        special = r"\\(?:\r\n|[\s\S]|\Z)"
        plain = rf"[^{separator}\\\r\n]*(?:{special}[^{separator}\\\r\n]*)*"
        enclosed = rf'[^"\\]*(?:(?:{special}|"")[^"\\]*)*"(?!")'
        escape = rf'\\(\r\n|["\\{separator}\r\n])|""'
    return _Patterns(re.compile(plain), re.compile(enclosed), re.compile(escape))


def _quoted_row(path: Path, number: int, line: str, lines: Iterator[tuple[int, str]], dialect: Dialect) -> DelimitedRow:
    """A row of one line or more, more of which are taken from `lines` as cells in quotes need them."""
    patterns = _patterns(dialect.delimiter, dialect.quotes)
    cells: list[str] = []
    n_enclosed, has_doubled = 0, False
    begin, position = number, 0

    def row(problem: RowDefect = "") -> DelimitedRow:
        end = line[len(line.rstrip("\r\n")) :]
        return DelimitedRow(begin, cells, problem, number, end, n_enclosed, has_doubled, line)

    while True:
        is_enclosed = line.startswith('"', position)
        pattern = patterns.enclosed if is_enclosed else patterns.plain
        position += is_enclosed
        parts: list[str] = []
        n_characters = 0
        while (match := pattern.match(line, position)) is None or _goes_on(match, line, is_enclosed):
            parts.append(line[position:])
            n_characters += len(parts[-1])
            _check_length(path, begin, n_characters)
            following = next(lines, None)
            if following is None:
                return row("open" if is_enclosed else "")._replace(cells=[*cells, "".join(parts)])
            (number, line), position = following, 0
        parts.append(match[0])
        position = match.end()
        content = "".join(parts)
        _check_length(path, begin, len(content))
        if is_enclosed:
            content = content[:-1]
            n_enclosed += 1
            has_doubled = has_doubled or '""' in content
        if not is_enclosed and content.startswith(" ") and content.lstrip().startswith('"'):
            return row("space")
        cells.append(_unescaped(content, patterns.escape, is_enclosed, dialect.quotes))
        if position == len(line) or line[position] in "\r\n":
            return row()
        if line[position] != dialect.delimiter:
            return row("after")
        position += 1


def _goes_on(match: re.Match[str], line: str, is_enclosed: bool) -> bool:
    """Whether a cell without quotes ends in an escaped line end, so that it goes on in the next line."""
    return not is_enclosed and match.end() == len(line) and line.endswith(("\n", "\r"))


def _unescaped(content: str, escape: re.Pattern[str], is_enclosed: bool, quotes: Quotes) -> str:
    if not is_enclosed and quotes == "doubled":
        return content
    return escape.sub(lambda match: (match[1] if quotes == "backslash" else None) or '"', content)


def _check_length(path: Path, line: int, n_characters: int) -> None:
    if n_characters > MAX_CELL_CHARS:
        raise FileFormatError(
            f"{path}: a cell of the row at line {line} is longer than {MAX_CELL_CHARS:,} characters. Probably a quote "
            "is opened there and never closed."
        )


def check_column_count(path: Path, n_columns: int, max_columns: int | None) -> None:
    """Refuse a file with more than max_columns with a FileFormatError."""
    if max_columns is not None and n_columns > max_columns:
        raise FileFormatError(
            f"{path} has {n_columns:,} columns; at most {max_columns:,} are taken. Leave columns out that are "
            "not needed."
        )


def refuse_repeated(path: Path, names: Iterable[str], advice: str) -> None:
    """Refuse column names that occur more than once; the message ends in the advice."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise FileFormatError(f"{path} names the column {', '.join(map(repr, twice[:20]))} more than once{advice}")
