"""Decides how the cells of a CSV or TSV file are written, from what the file cannot be otherwise.

Where it may be meant in two ways it is refused, and the message names the option that says which is meant. An option
that is given is obeyed.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from e5studio.errors import FileFormatError, FileOptionError, NoRowsError
from e5studio.files.decoding import decoded_lines, text_encoding
from e5studio.files.delimited import DelimitedRow, Dialect, Quotes, delimited_rows
from e5studio.files.foreign import refuse_other_text

DELIMITERS = {".csv": ",", ".tsv": "\t"}

_USUAL_DELIMITER = re.compile(r"[;\t|,\x01-\x08\x0b\x0c\x0e-\x1f]")
_BACKSLASHED_QUOTE = re.compile(r'(?<!\\)\\(?:\\\\)*"')
_BACKSLASH_AT_END = re.compile(r"(?<!\\)\\(?:\\\\)*$")
_SAMPLED_ROWS = 100
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE | re.DOTALL)
_MEANINGS = (
    "Say what a quote means: --quotes doubled (it encloses a cell, and is doubled inside), --quotes backslash (inside "
    "it follows a backslash) or --quotes literal (it is a character like any other)."
)


def decide_dialect(
    path: Path,
    ending: str,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
    skip_bad_bytes: bool = False,
) -> Dialect:
    """How the cells of a file are written.

    Args:
        path: The file.
        ending: One of DELIMITERS.
        encoding: Its encoding; None: as a byte order mark says, else UTF-8.
        delimiter: Separates its cells; None: as a first line such as `sep=;` says, else as the ending says.
        quotes: What a quote means; None: it encloses cells and inside is doubled, if that is possible; in TSV it is a
            character if that is not.
        skip_bad_bytes: Pass over a byte that is invalid in the encoding.

    Raises:
        FileFormatError: It holds no text or no rows.
        FileEncodingError: Some byte is invalid in its encoding, and is not to be passed over.
        FileOptionError: The delimiter is probably another one, or quotes may mean one thing or the other.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise FileFormatError(f"{delimiter!r} cannot separate cells. Give one character, such as , or ; or a tab.")
    known_encoding = text_encoding(path, encoding)
    with closing(decoded_lines(path, known_encoding, skip_bad_bytes=True)) as lines:
        index, first_line = next(((index, line) for index, line in enumerate(lines) if line.strip()), (0, ""))
    if not first_line:
        raise NoRowsError(f"{path} holds nothing but blank lines.")
    refuse_other_text(path, first_line)
    separator_line = _SEPARATOR_LINE.fullmatch(first_line.rstrip("\r\n")) if index == 0 else None
    usual = separator_line[1] if separator_line else DELIMITERS[ending]
    dialect = Dialect(known_encoding, delimiter or usual, quotes or "doubled", separator_line is not None)
    if delimiter != usual:
        _refuse_other_delimiter(path, dialect, first_line, is_given=delimiter is not None)
    if quotes is not None:
        return dialect
    evidence = _evidence(path, dialect, skip_bad_bytes=skip_bad_bytes)
    return _with_quotes(path, dialect, evidence)


def _refuse_other_delimiter(path: Path, dialect: Dialect, first_line: str, *, is_given: bool) -> None:
    sample = _sample(path, dialect, dialect.delimiter)
    header_line = first_line if sample is None or not dialect.has_separator_line else sample[0].raw
    for other in _candidates(header_line, dialect.delimiter):
        others = _sample(path, dialect, other)
        if others is not None and (sample is None or _is_plainly_other(sample, others, other, is_given)):
            width, own = len(others[0].cells), 1 if sample is None else len(sample[0].cells)
            raise FileOptionError(
                f"{path} is read with its cells separated by {_named(dialect.delimiter)}: its first line has {own} of "
                f"them, and {width} if they are separated by {_named(other)}.",
                f"Say so with --delimiter {_quoted(other)}, or that it is as it should be with --delimiter "
                f"{_quoted(dialect.delimiter)}.",
                "delimiter",
            )
    if sample is None or is_given:
        return
    for other in ";\t|":
        others = _sample(path, dialect, other)
        if others is not None and _is_below_a_title(sample, others):
            raise FileOptionError(
                f"The first line of {path} has one cell, and most lines below it have {len(others[-1].cells)} that are "
                f"separated by {_named(other)}.",
                "Remove what stands above the names of the columns, or separate these alike, and give --delimiter "
                f"{_quoted(other)}; if the file has one column, say so with --delimiter {_quoted(dialect.delimiter)}.",
                "delimiter",
            )


def _candidates(header_line: str, delimiter: str) -> list[str]:
    """Signs of the header that may separate its cells, those that usually do first."""
    signs = {each for each in set(header_line) if not (each.isalnum() or each in f' \r\n\0"_{delimiter}')}
    return sorted(signs, key=lambda sign: (_USUAL_DELIMITER.match(sign) is None, sign))


def _sample(path: Path, dialect: Dialect, delimiter: str) -> list[DelimitedRow] | None:
    """The header and the first rows under a delimiter; None where that leaves a quote open."""
    trial = replace(dialect, delimiter=delimiter)
    try:
        with closing(delimited_rows(path, trial, skip_bad_bytes=True)) as all_rows:
            rows = list(itertools.islice(all_rows, 1 + _SAMPLED_ROWS))
    except FileFormatError:  # a cell that is too long
        return None
    return rows if rows and rows[0].problem == "" else None


def _is_plainly_other(
    sample: Sequence[DelimitedRow], others: Sequence[DelimitedRow], other: str, is_given: bool
) -> bool:
    """Whether the header is several columns under the other delimiter, and the rows agree."""
    own, width = len(sample[0].cells), len(others[0].cells)
    if width <= own or not all(map(str.strip, others[0].cells)):
        return False
    widths = [len(row.cells) for row in others[1:]]
    if _USUAL_DELIMITER.match(other) and own == 1 and not is_given:
        return sum(each >= width for each in widths) * 2 >= len(widths)
    if set(widths) != {width}:
        return False
    if not _USUAL_DELIMITER.match(other):  # as in a text, unless there is something on both sides of each
        return own == 1 and len(widths) > 1 and all(cell.strip() for row in others[1:] for cell in row.cells)
    return own == 1 or any(len(row.cells) != own for row in sample[1:])


def _is_below_a_title(sample: Sequence[DelimitedRow], others: Sequence[DelimitedRow]) -> bool:
    """Whether most lines but the first are so many cells under the other delimiter, and all are one under the own."""
    if len(others[0].cells) > 1 or any(len(row.cells) > 1 for row in sample[1:]):
        return False
    widths = Counter(len(row.cells) for row in others[1:])
    [(width, n)] = widths.most_common(1) or [(1, 0)]
    return width > 1 and n > 1 and n * 2 > widths.total()


@dataclass
class _Evidence:
    """What the quotes of a file say about themselves, if they enclose cells and are doubled inside.

    Attributes:
        n_columns: Cells of the header, if quotes are characters.
        is_literal_table: Whether every line has as many cells if quotes are characters.
        is_enclosing: Whether a quote is doubled in a cell, or a name of the header stands in quotes.
        first_problem: The first row in which a quote neither encloses a cell nor is doubled.
        first_unclear: The first of those of which it is unclear on which line it ends.
        first_joined: Line on which the first row of several lines begins; 0 if there is none.
        n_backslashed: How many quotes follow a backslash.
        n_quotes: How many quotes there are.
        first_quote: Line of the first quote.
        first_continued: The first line that ends in a backslash and is followed by too short a line; 0 if none is.
    """

    n_columns: int = 0
    is_literal_table: bool = True
    is_enclosing: bool = False
    first_problem: DelimitedRow | None = None
    first_unclear: DelimitedRow | None = None
    first_joined: int = 0
    n_backslashed: int = 0
    n_quotes: int = 0
    first_quote: int = 0
    first_continued: int = 0


def _with_quotes(path: Path, dialect: Dialect, evidence: _Evidence) -> Dialect:
    is_tsv = dialect.delimiter == "\t"
    is_table = evidence.is_literal_table and (evidence.n_columns > 1 or is_tsv) and not evidence.is_enclosing
    if evidence.first_continued:
        raise FileOptionError(
            f"{path}, line {evidence.first_continued} ends in a backslash and the next is too short, so it may go on "
            "there.",
            _MEANINGS,
            "quotes",
        )
    if evidence.n_quotes and evidence.n_backslashed == evidence.n_quotes:
        raise FileOptionError(
            f"{path}, line {evidence.first_quote}: all of its quotes follow a backslash.", _MEANINGS, "quotes"
        )
    problem = evidence.first_problem
    if problem is None:
        if evidence.first_joined and is_table:
            raise FileOptionError(
                f"{path}: the quote that opens a cell of the row at line {evidence.first_joined} closes on a later "
                "line, and all lines are whole rows if quotes are characters.",
                _MEANINGS,
                "quotes",
            )
        return dialect
    if is_tsv and is_table and not evidence.n_backslashed:
        return replace(dialect, quotes="literal")
    if problem.problem == "open":
        raise FileOptionError(f"{path}: {quote_problem(problem)}.", f"Close it. {_MEANINGS}", "quotes")
    # Where rows may have several lines, nothing says where a row with a misplaced quote ends.
    is_unclear = evidence.n_backslashed or evidence.first_joined or evidence.n_columns == 1
    if unclear := evidence.first_unclear or (problem if is_unclear else None):
        raise FileOptionError(
            f"{path}: {quote_problem(unclear)}, so it is unclear where the row ends.", _MEANINGS, "quotes"
        )
    return dialect


def quote_problem(row: DelimitedRow) -> str:
    """What is wrong with the quotes of a row."""
    if row.problem == "open":
        return (
            f"the quote opened in the row at line {row.line} is never closed, so the rest of the file would become one "
            "cell"
        )
    if row.problem == "space":
        return f"line {row.line} has a space in front of a quote that opens a cell, which is to be removed"
    return f"line {row.line} has a quote inside a cell in quotes that neither is doubled nor ends the cell"


def _evidence(path: Path, dialect: Dialect, *, skip_bad_bytes: bool) -> _Evidence:
    evidence = _Evidence()
    has_backslash_at_end = False
    for number, line in enumerate(decoded_lines(path, dialect.encoding, skip_bad_bytes=skip_bad_bytes), 1):
        body = line.rstrip("\r\n")
        if not body or (number == 1 and dialect.has_separator_line):
            continue
        width = body.count(dialect.delimiter) + 1
        evidence.n_columns = evidence.n_columns or width
        # A comma with a space behind it is one of a text: no program writes it between cells.
        is_row = width == evidence.n_columns and (dialect.delimiter == "\t" or f"{dialect.delimiter} " not in body)
        evidence.is_literal_table = evidence.is_literal_table and is_row
        has_backslash_at_end = has_backslash_at_end or body.endswith("\\")
        if n_quotes := body.count('"'):
            evidence.first_quote = evidence.first_quote or number
            evidence.n_quotes += n_quotes
            evidence.n_backslashed += len(_BACKSLASHED_QUOTE.findall(body))
    if evidence.n_quotes or has_backslash_at_end:
        _add_evidence_of_rows(evidence, delimited_rows(path, dialect, skip_bad_bytes=True))
    return evidence


def _add_evidence_of_rows(evidence: _Evidence, rows: Iterator[DelimitedRow]) -> None:
    header = before = next(rows)
    evidence.is_enclosing = header.n_enclosed > 0
    for row in itertools.chain([header], rows):
        evidence.is_enclosing = evidence.is_enclosing or row.has_doubled
        if row.problem in ("open", "after", "space"):
            evidence.first_problem = evidence.first_problem or row
            if row.line < row.last_line or row.raw.count('"') % 2:
                evidence.first_unclear = evidence.first_unclear or row
        elif row.line < row.last_line:
            evidence.first_joined = evidence.first_joined or row.line
        if len(row.cells) < len(header.cells) and _BACKSLASH_AT_END.search(before.raw.rstrip("\r\n")):
            evidence.first_continued = evidence.first_continued or before.last_line
        before = row


def _named(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else repr(delimiter)


def _quoted(delimiter: str) -> str:
    """As it is written on a command line."""
    return "tab" if delimiter == "\t" else repr(delimiter)
