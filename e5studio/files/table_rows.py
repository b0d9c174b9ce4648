"""The rows of a CSV or TSV file by the names of its columns, and what is wrong with them as a table."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from e5studio.errors import FileFormatError, NoRowsError
from e5studio.files.decoding import BYTE_ORDER_MARK, BadBytes, bad_byte_error
from e5studio.files.delimited import (
    DelimitedRow,
    Dialect,
    check_column_count,
    delimited_rows,
    refuse_repeated,
)
from e5studio.files.dialect import quote_problem
from e5studio.files.line_ends import LineEnds
from e5studio.tokenization import replace_surrogates

TableRow = tuple[int, dict[str, str], str]
"""The line on which it begins, its cells, and why it cannot be read ("" if it can)."""


def open_rows(
    path: Path, dialect: Dialect, *, skip_bad_bytes: bool = False, max_columns: int | None = None
) -> tuple[tuple[str, ...], Generator[TableRow, None, None]]:
    """The names of the columns, which are unique, and the rows below them.

    Args:
        path: The file.
        dialect: How its cells are written.
        skip_bad_bytes: Make a byte that is invalid in the encoding a problem of its row.
        max_columns: Most columns; None: no limit.

    Raises:
        FileFormatError: There is no header, it repeats a name, or it has too many columns; while rows are read, that
            most of them do not fit the header.
    """
    with closing(delimited_rows(path, dialect, skip_bad_bytes=skip_bad_bytes)) as rows:
        header = next(rows, None)
    if header is None:
        raise NoRowsError(f"{path} holds nothing but blank lines.")
    if header.problem == "byte":
        raise bad_byte_error(path, dialect.encoding)
    if header.problem:
        raise FileFormatError(f"{path}: {quote_problem(header)}. Correct the names of the columns.")
    check_column_count(path, len(header.cells), max_columns)
    names = [replace_surrogates(name.strip()) for name in header.cells]
    refuse_repeated(path, filter(None, names), ", so it is unclear which is meant. Rename one in the first line.")
    columns = _with_names(names)
    return columns, _closed_rows(path, dialect, columns, skip_bad_bytes)


def _closed_rows(
    path: Path, dialect: Dialect, columns: tuple[str, ...], skip_bad_bytes: bool
) -> Generator[TableRow, None, None]:
    with closing(delimited_rows(path, dialect, skip_bad_bytes=skip_bad_bytes)) as rows:
        yield from _rows(path, dialect, columns, rows)


def _rows(
    path: Path, dialect: Dialect, columns: tuple[str, ...], rows: Iterator[DelimitedRow]
) -> Generator[TableRow, None, None]:
    header = next(rows)
    is_title = len(columns) > 1 and bool(header.cells[0].strip()) and not any(map(str.strip, header.cells[1:]))
    names = set(header.cells)
    line_ends = LineEnds()
    line_ends.problem(header.line, header.line_end)
    ragged: tuple[int, int] | None = None
    bad_bytes = BadBytes(path, dialect.encoding)
    n_rows = n_ragged = 0
    for row in rows:
        n_rows += 1
        if row.follows_return:
            line_ends.pass_blank()
        unclear_end = line_ends.problem(row.last_line, row.line_end)
        problem = bad_bytes.problem(row.line, is_bad=row.problem == "byte") or unclear_end
        if row.problem:
            problem = problem or quote_problem(row)
        elif _is_header(row, header):
            problem = f"line {row.line} repeats the first line, as where two files are joined"
        elif len(row.cells) != len(columns):
            problem = f"line {row.line} has {len(row.cells)} cells, the header {len(columns)}"
            ragged = ragged or (row.line, len(row.cells))
            n_ragged += 1
        elif len(names) == len(columns) > 1 and row.cells[0] in names and set(row.cells) == names:
            raise FileFormatError(
                f"{path}: line {row.line} names the columns in another order than the first line, as where two files "
                "are joined. Divide it there."
            )
        elif is_title and any(row.cells[1:]):
            raise FileFormatError(
                f"{path} names its first column, {columns[0]!r}, and no other, though line {row.line} has more. "
                "Remove what stands above the names of the columns, or give each column a name."
            )
        yield (row.line, {}, problem) if problem else (row.line, dict(zip(columns, row.cells, strict=True)), "")
    if ragged and n_ragged * 2 >= n_rows + (len(columns) > 1):
        most = "has no row that can be read" if n_ragged == n_rows else f"has {n_ragged:,} rows that do not fit"
        raise FileFormatError(
            f"{path} {most}; line {ragged[0]} has {ragged[1]} cells, the header {len(columns)}. Remove what stands "
            "above the names of the columns, and give each column a name."
        )
    bad_bytes.check()


def _is_header(row: DelimitedRow, header: DelimitedRow) -> bool:
    """Whether a row is the header once more, perhaps behind the byte order mark of a file that was joined."""
    return row.cells == header.cells or (
        row.raw.startswith(BYTE_ORDER_MARK) and row.raw[1:].rstrip("\r\n") == header.raw.rstrip("\r\n")
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
