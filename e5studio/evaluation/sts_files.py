"""Reads pairs of texts with people's scores from a .csv or .tsv file with a header.

In a .tsv file quotes may be ordinary characters: sentences of the STS Benchmark begin with stray ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from e5studio.errors import FileFormatError
from e5studio.evaluation.task_names import known_task
from e5studio.evaluation.tasks import StsTask, TaskDigest
from e5studio.files.decoding import text_encoding
from e5studio.files.delimited import DELIMITERS, csv_header, csv_records, has_quoted_cells
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
    name: str | None = None,
) -> StsTask:
    """Read and check a file of pairs.

    Args:
        path: A .csv or .tsv file with a header.
        columns: Names of the first text's, the second's and the score's column; "sentence1", "sentence2", "score"
            or "text1", "text2", "score" if None.
        split: Where there is a column "split", the rows to take; "test", or all alike, if None.
        encoding: UTF-8, or what a byte order mark says, if None.
        delimiter: A comma, or a tab in .tsv, if None.
        name: The task's name; the file's if None, in mteb's spelling where mteb has such a task.

    Raises:
        FileFormatError: A column is missing, a row ragged, a text empty, a score no number.
    """
    path = Path(path)
    if path.suffix.lower() not in DELIMITERS:
        raise FileFormatError(f"{path} is no table. Pairs with scores are read from {' and '.join(DELIMITERS)} files.")
    if not path.is_file():
        raise FileFormatError(f"There is no file {path}.")
    known_encoding = text_encoding(path, encoding)
    separator = delimiter or DELIMITERS[path.suffix.lower()]
    is_quoted = separator == "," or has_quoted_cells(path, known_encoding, separator)
    header = csv_header(path, known_encoding, separator, is_quoted=is_quoted)
    indices = _column_indices(path, header, columns)
    records = list(csv_records(path, known_encoding, separator, is_quoted=is_quoted))[1:]
    _check_shape(path, header, records)
    chosen = _choose_split(path, header, records, split)
    if chosen is not None:
        records = [(line, cells) for line, cells in records if cells[header.index(_SPLIT_COLUMN)].strip() == chosen]
    if len(records) < 2:
        raise FileFormatError(f"{path} holds {len(records)} pairs; a correlation needs two or more.")
    first, second = (_texts(path, header[index], records, index) for index in indices[:2])
    scores = np.array([_score(path, line, cells[indices[2]]) for line, cells in records], np.float64)
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


def _column_indices(path: Path, header: Sequence[str], requested: Columns | None) -> tuple[int, int, int]:
    if requested is not None and len(set(requested)) < 3:
        raise FileFormatError(
            f"--columns names {', '.join(map(repr, requested))}; the texts and the score need one each."
        )
    for names in (requested,) if requested is not None else _ALSO:
        if set(names) <= set(header):
            first, second, score = (header.index(name) for name in names)
            return first, second, score
    missing = [name for name in requested or COLUMNS if name not in header]
    raise FileFormatError(
        f"{path} has no column {' and none '.join(map(repr, missing))}. Its columns: {', '.join(map(repr, header))}. "
        "Name the two texts and the score with --columns FIRST SECOND SCORE."
    )


def _check_shape(path: Path, header: Sequence[str], records: Sequence[tuple[int, list[str]]]) -> None:
    for line, cells in records:
        if len(cells) != len(header):
            raise FileFormatError(
                f"{path}, line {line} has {len(cells)} cells, the header {len(header)}. Correct or remove the line."
            )


def _choose_split(
    path: Path, header: Sequence[str], records: Sequence[tuple[int, list[str]]], requested: str | None
) -> str | None:
    if _SPLIT_COLUMN not in header:
        if requested is not None:
            raise FileFormatError(
                f"{path} has no column {_SPLIT_COLUMN!r} to find {requested!r} in. Leave --split out."
            )
        return None
    index = header.index(_SPLIT_COLUMN)
    splits = sorted({cells[index].strip() for _, cells in records})
    chosen = requested or (splits[0] if len(splits) == 1 else _DEFAULT_SPLIT)
    if chosen not in splits:
        raise FileFormatError(
            f"{path} has no split {chosen!r}. Its splits: {', '.join(map(repr, splits))}. Choose one with --split."
        )
    return chosen


def _texts(path: Path, column: str, records: Sequence[tuple[int, list[str]]], index: int) -> tuple[str, ...]:
    texts = tuple(cells[index] for _, cells in records)
    empty = find_bad_texts(texts)
    if empty:
        line = records[min(empty)][0]
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
