"""Records of CSV and TSV files, each with the line on which it begins; errors name the line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from e5studio.errors import FileFormatError
from e5studio.files.decoding import decoded

MAX_CELL_CHARS = 16 * 1024 * 1024
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def csv_header(
    path: Path, encoding: str, delimiter: str, *, is_quoted: bool = True, max_columns: int | None = None
) -> list[str]:
    """The names of the columns, which are unique.

    Args:
        path: The file.
        encoding: From `text_encoding`.
        delimiter: One character.
        is_quoted: As in `csv_records`.
        max_columns: Most columns; None: no limit.

    Raises:
        FileFormatError: There is no header, it repeats a name, or it has too many columns.
    """
    header = next(csv_records(path, encoding, delimiter, is_quoted=is_quoted), None)
    if header is None:
        raise FileFormatError(f"{path} holds nothing but blank lines.")
    check_column_count(path, len(header[1]), max_columns)
    names = [name.strip() for name in header[1]]
    refuse_repeated(path, filter(None, names), ", so it is unclear which is meant. Rename one in the first line.")
    return names


def refuse_repeated(path: Path, names: Iterable[str], advice: str) -> None:
    """Refuse column names that occur more than once; the message ends in the advice."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise FileFormatError(f"{path} names the column {', '.join(map(repr, twice[:20]))} more than once{advice}")


def check_column_count(path: Path, n_columns: int, max_columns: int | None) -> None:
    """Refuse a file with more than max_columns with a FileFormatError."""
    if max_columns is not None and n_columns > max_columns:
        raise FileFormatError(
            f"{path} has {n_columns:,} columns; at most {max_columns:,} are taken. Leave columns out that are "
            "not needed."
        )


def csv_records(
    path: Path, encoding: str, delimiter: str, *, is_quoted: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its cells; blank lines are skipped.

    Args:
        path: The file.
        encoding: From `text_encoding`.
        delimiter: One character.
        is_quoted: Whether cells may be quoted; if not, a quote is an ordinary character.

    Raises:
        FileFormatError: A quote is opened and never closed, or a cell is longer than MAX_CELL_CHARS.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
    with decoded(path, encoding, newline="") as file:
        is_past_end = False

        def lines() -> Iterator[str]:
            # The csv module asks for a line beyond the end only inside an open quote, and then returns the row without
            # an error.
            nonlocal is_past_end
            yield from file
            is_past_end = True

        reader = csv.reader(lines(), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE)
        while True:
            begin = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise FileFormatError(
                    f"{path}, from line {begin}: {error}. Probably a quote is opened there and never closed."
                ) from error
            if is_past_end:
                raise FileFormatError(
                    f"{path}: the quote opened in the row at line {begin} is never closed, so the rest of the file "
                    "would become one cell. Close it, or write it twice where a quote is meant."
                )
            if cells:
                yield begin, cells


def has_quoted_cells(path: Path, encoding: str, delimiter: str) -> bool:
    """Whether quotes in the file enclose cells or are ordinary characters.

    They are ordinary characters if some quote neither opens nor closes a cell, or if all lines have the same number of
    cells without quoting and quoting would join lines (a stray quote begins a cell, another ends a later one).
    """
    quoted = _widths(path, encoding, delimiter, is_quoted=True)
    literal = _widths(path, encoding, delimiter, is_quoted=False)
    if quoted is None:
        return False
    return literal is None or len(set(literal)) > 1 or len(quoted) == len(literal)


def _widths(path: Path, encoding: str, delimiter: str, *, is_quoted: bool) -> list[int] | None:
    """Number of cells of each record; None if quotes cannot enclose cells."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
    with decoded(path, encoding, newline="") as file:
        reader = csv.reader(
            file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE, strict=True
        )
        try:
            return [len(cells) for cells in reader if cells]
        except csv.Error:
            return None
