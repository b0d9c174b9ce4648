"""Reads pairs of texts with people's scores from a .csv or .tsv file with a header."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from e5studio.errors import FileFormatError, FileOptionError
from e5studio.evaluation.task_names import known_task
from e5studio.evaluation.tasks import StsTask, TaskDigest
from e5studio.files.delimited import Quotes
from e5studio.files.dialect import DELIMITERS
from e5studio.files.records import Record, Records, open_records
from e5studio.text_checks import find_bad_texts

Columns = tuple[str, str, str]
COLUMNS: Columns = ("sentence1", "sentence2", "score")
_ALSO: tuple[Columns, ...] = (COLUMNS, ("text1", "text2", "score"))
_SPLIT_COLUMN, _DEFAULT_SPLIT = "split", "test"


def read_sts(
    path: str | Path,
    *,
    columns: Columns | None = None,
    split: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
    name: str | None = None,
) -> StsTask:
    """Read and check a file of pairs.

    Args:
        path: A .csv or .tsv file with a header.
        columns: Names of the first text's, the second's and the score's column; "sentence1", "sentence2", "score"
            or "text1", "text2", "score" if None.
        split: Where there is a column "split", the rows to take; "test", or all alike, if None.
        encoding: UTF-8, or what a byte order mark says, if None.
        delimiter: A comma, or a tab in .tsv, or what its first line says, if None.
        quotes: What a quote means, as for `e5studio.files.open_texts`.
        name: The task's name; the file's if None, in mteb's spelling where mteb has such a task.

    Raises:
        FileFormatError: A column is missing, a row ragged, a text empty, a score no number.
    """
    path = Path(path)
    if path.suffix.lower() not in DELIMITERS:
        raise FileFormatError(f"{path} is no table. Pairs with scores are read from {' and '.join(DELIMITERS)} files.")
    if not path.is_file():
        raise FileFormatError(f"There is no file {path}.")
    table = _open(path, encoding, delimiter, quotes)
    header = table.columns
    names = _column_names(path, header, columns)
    records = list(table.rows)
    if problem := next((record.problem for record in records if record.problem), ""):
        raise FileFormatError(f"{path}, {problem}. Correct or remove the line.")
    chosen = _choose_split(path, header, records, split)
    if chosen is not None:
        records = [record for record in records if _cell(record, _SPLIT_COLUMN).strip() == chosen]
    if len(records) < 2:
        raise FileFormatError(f"{path} holds {len(records)} pairs; a correlation needs two or more.")
    first, second = (_texts(path, name, records) for name in names[:2])
    scores = np.array([_score(path, record.line, _cell(record, names[2])) for record in records], np.float64)
    if np.ptp(scores) == 0:
        raise FileFormatError(f"Every pair of {path} has the score {scores[0]:g}, so there is nothing to agree with.")
    digest = TaskDigest()
    for row in zip(first, second, map(str, scores.tolist()), strict=True):
        digest.add(*row)
    return StsTask(
        name=known_task(name or path.stem),
        split=chosen or _DEFAULT_SPLIT,
        first=first,
        second=second,
        scores=scores,
        source=str(path),
        digest=digest.hexdigest(),
    )


def _open(path: Path, encoding: str | None, delimiter: str | None, quotes: Quotes | None) -> Records:
    open_as = functools.partial(open_records, path, path.suffix.lower(), encoding=encoding, delimiter=delimiter)
    try:
        return open_as(quotes=quotes)
    except FileOptionError as error:
        if error.option != "quotes" or quotes is not None or path.suffix.lower() != ".tsv":
            raise
        # Sentences of the STS Benchmark begin with stray quotes. Every line then has a score in its place, which is
        # checked below: no text that runs over lines does.
        return open_as(quotes="literal")


def _cell(record: Record, column: str) -> str:
    return str(record.cells[column])  # a table of lines holds nothing but text


def _column_names(path: Path, header: Sequence[str], requested: Columns | None) -> Columns:
    if requested is not None and len(set(requested)) < 3:
        raise FileFormatError(
            f"--columns names {', '.join(map(repr, requested))}; the texts and the score need one each."
        )
    for names in (requested,) if requested is not None else _ALSO:
        if set(names) <= set(header):
            return names
    missing = [name for name in requested or COLUMNS if name not in header]
    raise FileFormatError(
        f"{path} has no column {' and none '.join(map(repr, missing))}. Its columns: {', '.join(map(repr, header))}. "
        "Name the two texts and the score with --columns FIRST SECOND SCORE."
    )


def _choose_split(path: Path, header: Sequence[str], records: Sequence[Record], requested: str | None) -> str | None:
    if _SPLIT_COLUMN not in header:
        if requested is not None:
            raise FileFormatError(
                f"{path} has no column {_SPLIT_COLUMN!r} to find {requested!r} in. Leave --split out."
            )
        return None
    splits = sorted({_cell(record, _SPLIT_COLUMN).strip() for record in records})
    chosen = requested or (splits[0] if len(splits) == 1 else _DEFAULT_SPLIT)
    if chosen not in splits:
        raise FileFormatError(
            f"{path} has no split {chosen!r}. Its splits: {', '.join(map(repr, splits))}. Choose one with --split."
        )
    return chosen


def _texts(path: Path, column: str, records: Sequence[Record]) -> tuple[str, ...]:
    texts = tuple(_cell(record, column) for record in records)
    empty = find_bad_texts(texts)
    if empty:
        line = records[min(empty)].line
        raise FileFormatError(f"{path}, line {line}: {column!r} is empty. Give it a text, or remove the line.")
    return texts


def _score(path: Path, line: int, cell: str) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise FileFormatError(f"{path}, line {line}: the score {cell!r} is no number.")
    return score
