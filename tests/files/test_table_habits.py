"""Tables as programs write them, read back equal or refused: no cell is ever another text without a word.

`E5STUDIO_FUZZ_SECONDS=600 pytest --timeout 0 -s tests/files/test_table_habits.py` takes that long for each test, and
prints what came out.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e5studio.errors import FileFormatError
from e5studio.files.records import open_records

Rows = list[list[str]]
Habit = Callable[[random.Random, Rows], tuple[str, bytes, dict[str, Any]]]
"""Rows -> the ending of a file, its content, and the options that it is read with."""

SECONDS = float(os.environ.get("E5STUDIO_FUZZ_SECONDS", "0"))
ROUNDS = 60
PIECES = [
    *('"', '""', ",", ";", "\t", "\n", "\r\n", "\r", "|", "'", " ", "  ", "\\", '\\"', "#", "=", "{", "[", "<"),
    *("a", "B", "no", "NA", "007", "1.5", "é", "ß", "世界", "\u2028", "\u00a0", "\x85", "\U0001f600", "\0", "\ufeff"),
    *("She said", "where is it?", "27", "text", "id"),
]
NAMES = ["text", "id", "Frage", "title", "note", "größe", "a b"]


def python_csv(**options: Any) -> Habit:
    """Python's csv module."""

    def habit(random: random.Random, rows: Rows) -> tuple[str, bytes, dict[str, Any]]:
        file = io.StringIO()
        line_end = random.choice(["\n", "\r\n"])
        csv.writer(file, lineterminator=line_end, **options).writerows(rows)
        delimiter = options.get("delimiter", ",")
        ending = ".tsv" if delimiter == "\t" else ".csv"
        return ending, encoded(random, file.getvalue()), {} if delimiter in ",\t" else {"delimiter": delimiter}

    return habit


def python_with_backslashes(random: random.Random, rows: Rows) -> tuple[str, bytes, dict[str, Any]]:
    """Python's csv module without doubled quotes."""
    file = io.StringIO()
    quoting = random.choice([csv.QUOTE_NONE, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    csv.writer(file, quoting=quoting, doublequote=False, escapechar="\\", lineterminator="\n").writerows(rows)
    return ".csv", file.getvalue().encode(), {"quotes": "backslash"}


def pandas_csv(random: random.Random, rows: Rows) -> tuple[str, bytes, dict[str, Any]]:
    """What `DataFrame.to_csv` does, which leaves a carriage return alone without quotes."""
    file = io.StringIO()
    has_index = random.random() < 0.5
    table = [["" if row == 0 else str(row - 1), *cells] if has_index else cells for row, cells in enumerate(rows)]
    csv.writer(file, lineterminator="\n", quoting=random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])).writerows(
        table
    )
    return ".csv", file.getvalue().encode(random.choice(["utf-8", "utf-8-sig"])), {}


def excel_csv(random: random.Random, rows: Rows) -> tuple[str, bytes, dict[str, Any]]:
    """Excel of a country that writes 1,5: semicolons, a byte order mark, CRLF, perhaps `sep=;`."""
    lines = [";".join(quoted_where_needed(cell, ';"\n\r,') for cell in row) for row in rows]
    is_told = random.random() < 0.5
    content = "".join(f"{line}\r\n" for line in ([] if is_told else ["sep=;"]) + lines)
    return ".csv", content.encode("utf-8-sig"), {"delimiter": ";"} if is_told else {}


def excel_unicode_text(_: random.Random, rows: Rows) -> tuple[str, bytes, dict[str, Any]]:
    """Excel's "Unicode text": tabs in UTF-16, and quotes around what has a tab, a quote, a comma or a line end."""
    lines = ["\t".join(quoted_where_needed(cell, '\t"\n\r,') for cell in row) for row in rows]
    return ".tsv", "".join(f"{line}\r\n" for line in lines).encode("utf-16"), {}


def libreoffice_csv(random: random.Random, rows: Rows) -> tuple[str, bytes, dict[str, Any]]:
    """LibreOffice, with quotes around all texts or where they are needed."""
    delimiter = random.choice([",", ";", "\t", "|"])
    enclose_all = random.random() < 0.5
    needed = "".join(set(f'{delimiter}"\n\r'))
    lines = [
        delimiter.join(f'"{doubled(cell)}"' if enclose_all else quoted_where_needed(cell, needed) for cell in row)
        for row in rows
    ]
    return ".csv", "".join(f"{line}\n" for line in lines).encode(), {} if delimiter == "," else {"delimiter": delimiter}


def doubled(cell: str) -> str:
    return cell.replace('"', '""')


def quoted_where_needed(cell: str, needed: str) -> str:
    return f'"{doubled(cell)}"' if any(each in cell for each in needed) else cell


def encoded(random: random.Random, content: str) -> bytes:
    return content.encode(random.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32"]))


HABITS: dict[str, Habit] = {
    **{
        f"csv {name} {delimiter!r}": python_csv(quoting=quoting, delimiter=delimiter)
        for delimiter in ",\t;"
        for name, quoting in (
            ("minimal", csv.QUOTE_MINIMAL),
            ("all", csv.QUOTE_ALL),
            ("non-numeric", csv.QUOTE_NONNUMERIC),
        )
    },
    "csv with backslashes": python_with_backslashes,
    "pandas": pandas_csv,
    "Excel": excel_csv,
    "Excel Unicode text": excel_unicode_text,
    "LibreOffice": libreoffice_csv,
}


def some_rows(random: random.Random) -> Rows:
    """A header and rows of cells, of which the first has none that is blank, so that no line is."""
    width = random.randint(1, 4)
    pieces = random.sample(PIECES, random.randint(2, len(PIECES)))

    def cell(column: int) -> str:
        content = "".join(random.choice(pieces) for _ in range(random.randint(0, 5)))
        return "x" if column == 0 and not content.strip("\r") else content

    header = random.sample(NAMES, width)
    return [header, *([cell(column) for column in range(width)] for _ in range(random.randint(1, 6)))]


def read_back(path: Path, ending: str, options: dict[str, Any]) -> tuple[list[str], list[list[Any]], int]:
    """The columns, the rows that could be read, and how many could not."""
    records = open_records(path, ending, **options)
    rows, n_named = [], 0
    for record in records.rows:
        n_named += bool(record.problem)
        if not record.problem:
            rows.append([record.cells[name] for name in records.columns])
    return list(records.columns), rows, n_named


def ends_cut(rows: list[Any]) -> list[Any]:
    """Without a carriage return at the end of a row: in front of a line feed it is the end of the line."""
    return [[*row[:-1], row[-1].rstrip("\r")] for row in rows]


def is_part(rows: list[Any], of: list[Any]) -> bool:
    rest = iter(of)
    return all(row in rest for row in rows)


def seeds(n: int) -> Iterator[int]:
    """That many, or as many as the time allows where it is given."""
    if not SECONDS:
        yield from range(n)
        return
    started, seed = time.monotonic(), int(time.time() * 1000)
    while time.monotonic() - started < SECONDS:
        yield (seed := seed + 1)


def test_tables_come_back_as_they_were_written_or_are_refused(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in seeds(ROUNDS):
        for name, habit in HABITS.items():
            generator = random.Random(seed)
            rows = some_rows(generator)
            ending, content, options = habit(generator, rows)
            path = tmp_path / f"table{ending}"
            path.write_bytes(content)
            try:
                columns, read, n_named = read_back(path, ending, options)
            except FileFormatError:
                counts[f"{name}: refused"] += 1
                continue
            expected = rows[1:]
            if columns and columns[0] == "column 1":  # the index of pandas
                columns, read = columns[1:], [row[1:] for row in read]
            counts[f"{name}: {'a row is named' if n_named else 'equal'}"] += 1
            where = f"seed {seed}, {name}: {content!r}"
            assert columns == rows[0], where
            assert is_part(ends_cut(read), ends_cut(expected)), where
            assert n_named or len(read) == len(expected), where
    report(counts)
    assert sum(n for name, n in counts.items() if name.endswith("equal")) > 0.8 * counts.total()


def test_lines_and_objects_come_back_as_they_were_written(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in seeds(3 * ROUNDS):
        generator = random.Random(seed)
        cells = [cell for row in some_rows(generator)[1:] for cell in row]
        lines = [cell.replace("\r", "").replace("\n", " ") for cell in cells]
        lines[0] = lines[0].lstrip("\ufeff")  # there it is the mark of the encoding
        path = tmp_path / "lines.txt"
        path.write_bytes("".join(line + generator.choice(["\n", "\r\n"]) for line in lines).encode())
        outcome = _same(path, ".txt", "text", lines)
        counts[f"lines: {outcome}"] += 1
        path = tmp_path / "objects.jsonl"
        is_ascii = generator.random() < 0.5
        path.write_text("".join(json.dumps({"text": cell, "n": 1}, ensure_ascii=is_ascii) + "\n" for cell in cells))
        counts[f"objects: {_same(path, '.jsonl', 'text', cells)}"] += 1
    report(counts)
    assert sum(n for name, n in counts.items() if name.endswith("equal")) > 0.8 * counts.total()


def _same(path: Path, ending: str, column: str, expected: list[str]) -> str:
    """ "equal" or "refused", and a failure if a text is another one."""
    try:
        records = list(open_records(path, ending).rows)
    except FileFormatError:
        return "refused"
    assert [record.cells.get(column) for record in records] == expected, path.read_bytes()
    return "equal"


def test_damaged_files_end_in_a_sentence(tmp_path: Path) -> None:
    """Whatever bytes stand in a file: rows that are named, or an error meant for people."""
    counts: Counter[str] = Counter()
    for seed in seeds(3 * ROUNDS):
        generator = random.Random(seed)
        _, content, _ = generator.choice(list(HABITS.values()))(generator, some_rows(generator))
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            position = generator.randrange(len(damaged) + 1)
            match generator.randrange(3):
                case 0:
                    damaged[position:position] = generator.randbytes(generator.randint(1, 3))
                case 1:
                    del damaged[position : position + generator.randint(1, 5)]
                case _:
                    damaged[position:position] = generator.choice([b'"', b"\r", b"\n", b"\0", b"\\", b"\xff", b'","'])
        for ending in (".csv", ".tsv", ".jsonl", ".txt"):
            path = tmp_path / f"damaged{ending}"
            path.write_bytes(damaged)
            options = {"skip_bad_bytes": generator.random() < 0.5}
            try:
                for record in open_records(path, ending, **options).rows:
                    for text in (
                        record.problem,
                        *record.cells,
                        *filter(lambda cell: isinstance(cell, str), record.cells.values()),
                    ):
                        str(text).encode()
            except FileFormatError as error:
                str(error).encode()
                counts[f"{ending}: refused"] += 1
            else:
                counts[f"{ending}: read"] += 1
    report(counts)


def test_parquet_comes_back_as_it_was_written_or_is_refused(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    counts: Counter[str] = Counter()
    kinds = [arrow.string(), arrow.large_string(), arrow.dictionary(arrow.int32(), arrow.string())]
    for seed in seeds(ROUNDS // 2):
        generator = random.Random(seed)
        cells = [*(cell for row in some_rows(generator)[1:] for cell in row), None]
        path = tmp_path / "table.parquet"
        column = arrow.array(cells, arrow.string()).cast(generator.choice(kinds))
        options = {
            "use_dictionary": generator.random() < 0.5,
            "compression": generator.choice(["none", "snappy", "zstd"]),
        }
        parquet.write_table(arrow.table({"n": range(len(cells)), "text": column}), path, **options)
        counts[_same(path, ".parquet", "text", cells)] += 1
    report(counts)
    assert set(counts) == {"equal"}


def report(counts: Counter[str]) -> None:
    if SECONDS:
        sys.stdout.writelines(f"{n:9,} {name}\n" for name, n in sorted(counts.items()))
