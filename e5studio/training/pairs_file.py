"""Reads training data: a file of pairs, triplets, n-tuples or scored lists, or a folder in BEIR's form.

Columns have fixed names, or the caller names two; none is guessed. Errors name file and line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e5studio.errors import FileEncodingError, FileFormatError
from e5studio.evaluation.beir import QRELS, read_beir
from e5studio.evaluation.tasks import RetrievalTask
from e5studio.files.delimited import Quotes
from e5studio.files.records import RECORD_ENDINGS, Cell, NotText, Record, Records, open_records
from e5studio.prompts import join_title
from e5studio.text_checks import find_bad_texts
from e5studio.tokenization import replace_surrogates
from e5studio.training.examples import Example, TrainingSet, TrainingSetBuilder

_QUERY_NAMES, _POSITIVE_NAMES = ("query", "anchor"), ("positive",)
_NEGATIVE, _NEGATIVES, _SCORES, _INSTRUCTION = "negative", "negatives", "scores", "instruction"
_NAMES = (*_QUERY_NAMES, *_POSITIVE_NAMES, _NEGATIVES, _SCORES, _INSTRUCTION)
_FORM = (
    "Training data has the columns query (or anchor) and positive, and perhaps negative, negative_1, negative_2 and so "
    "on, or negatives (a JSON list), scores (a teacher's, of the positive and then of each negative) and instruction."
)
_SOURCES = "a .jsonl, .csv, .tsv or .parquet file, or a folder in BEIR's form"
_TRAIN_SPLIT = "train"


@dataclass(frozen=True)
class PairsFormat:
    """How a file of pairs is to be read, where the file does not say it.

    Attributes:
        columns: The columns of queries and of positives, if they have other names.
        split: File in a BEIR folder's qrels; "train" if None.
        encoding: Encoding, if neither UTF-8 nor marked.
        delimiter: What separates the cells of CSV, if no comma.
        quotes: What a quote means in CSV.
    """

    columns: tuple[str, str] | None = None
    split: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: Quotes | None = None


def read_training_set(path: str | Path, form: PairsFormat | None = None) -> TrainingSet:
    """Read and check training data.

    Args:
        path: A .jsonl, .csv, .tsv or .parquet file, or a folder in BEIR's form.
        form: What the file does not say.

    Raises:
        FileFormatError: With file and line: a row without a query or a positive, or scores that do not fit.
    """
    path, form = Path(path), form or PairsFormat()
    if path.is_dir():
        return _from_task(_read_beir(path, form))
    if not path.is_file():
        raise FileFormatError(f"There is no file or folder {path}.", f"Name {_SOURCES}.")
    ending = path.suffix.lower()
    if ending == ".txt" or ending not in RECORD_ENDINGS:
        raise FileFormatError(f"{path} is no file of pairs. Name {_SOURCES}.", _FORM)
    if form.split is not None:
        raise FileFormatError(f"{path} is a file, and only a folder in BEIR's form has splits.", "Leave --split out.")
    try:
        records = open_records(path, ending, encoding=form.encoding, delimiter=form.delimiter, quotes=form.quotes)
        return _from_records(path, records, form.columns)
    except FileEncodingError as error:  # whose advice is to skip rows, which would hide what is not trained on
        raise FileEncodingError(
            error.fact, "Name the encoding that it was saved with, such as --encoding cp1252, or correct these bytes."
        ) from error


def _read_beir(folder: Path, form: PairsFormat) -> RetrievalTask:
    if form.columns is not None:
        raise FileFormatError(f"{folder} is a folder, and only a file has columns.", "Leave --columns out.")
    splits = sorted(path.stem for path in (folder / QRELS).glob("*.tsv"))
    if (folder / QRELS).is_dir() and not splits:
        raise FileFormatError(f"{folder / QRELS} holds no .tsv file.", f"Put the judgements into {_TRAIN_SPLIT}.tsv.")
    if splits and form.split is None and _TRAIN_SPLIT not in splits:
        raise FileFormatError(
            f"{folder / QRELS} has no {_TRAIN_SPLIT}.tsv, but {', '.join(f'{split}.tsv' for split in splits)}.",
            "Name the judgements to train on with --split. What a model was trained on measures it no longer.",
        )
    return read_beir(folder, split=form.split or _TRAIN_SPLIT, encoding=form.encoding)


def _from_task(task: RetrievalTask) -> TrainingSet:
    builder = TrainingSetBuilder(task.source)
    indices = {
        name: builder.add_document(replace_surrogates(text))
        for name, document in zip(task.document_ids, task.documents(), strict=True)
        if not find_bad_texts([text := join_title(*document).strip()])
    }
    for name, query in zip(task.query_ids, task.queries, strict=True):
        grades: dict[int, float] = {}
        negatives = []
        for document, grade in task.judgements[name].items():
            index = indices.get(document)
            if index is not None and grade > 0:
                grades[index] = float(grade)
            elif index is not None:
                negatives.append(index)
        if grades:
            builder.add(Example(replace_surrogates(query), tuple(grades), tuple(grades.values()), tuple(negatives)))
    return builder.build()


def _from_records(path: Path, records: Records, columns: tuple[str, str] | None) -> TrainingSet:
    builder = TrainingSetBuilder(str(path))
    for name, kind in records.unfit.items():
        if name in (columns or ()) or name in _NAMES or _is_negative_column(name):
            raise FileFormatError(
                f"{path}: the column {name!r} is of type {kind}, which is not read from Parquet.",
                "Write texts as strings and lists as JSON text, or write the rows as .jsonl.",
            )
    for record in records.rows:
        if record.problem:
            raise FileFormatError(f"{path}: {record.problem}. Correct the row, or remove it.")
        query_column, positive_column = columns or _columns_of(path, record)
        row = _Row(path, record)
        positive = builder.add_document(row.text(positive_column))
        negatives = tuple(builder.add_document(text) for text in row.negatives())
        scores = row.scores(1 + len(negatives))
        builder.add(Example(row.text(query_column), (positive,), (1.0,), negatives, scores, row.instruction()))
    return builder.build()


def _columns_of(path: Path, record: Record) -> tuple[str, str]:
    if all(name in record.cells for name in _QUERY_NAMES):
        raise FileFormatError(
            f"{path}, line {record.line}: there are both columns, {' and '.join(_QUERY_NAMES)}.",
            "Choose with --columns QUERY POSITIVE.",
        )
    names = [next((name for name in known if name in record.cells), None) for known in (_QUERY_NAMES, _POSITIVE_NAMES)]
    if names[0] is None or names[1] is None:
        listed = ", ".join(map(repr, record.cells)) or "none"
        raise FileFormatError(
            f"{path}, line {record.line}: the columns are {listed}. {_FORM}",
            "Name two others with --columns QUERY POSITIVE.",
        )
    return names[0], names[1]


@dataclass(frozen=True)
class _Row:
    """One record of the file, whose cells are checked as they are read."""

    path: Path
    record: Record

    def text(self, column: str) -> str:
        """A cell that must hold a text."""
        cell = self.record.cells.get(column)
        if not isinstance(cell, str) or find_bad_texts([cell]):
            state = "is missing" if column not in self.record.cells else "holds no text"
            raise self._error(f"{column!r} {state}", "Give it a text, or remove the row.")
        return replace_surrogates(cell)

    def negatives(self) -> list[str]:
        """The texts of all columns of negatives."""
        numbered = [name for name in self.record.cells if _is_negative_column(name)]
        texts = [self.text(name) for name in numbered if self.record.cells[name] not in (None, "")]
        listed = self._list(_NEGATIVES)
        if any(not isinstance(each, str) or find_bad_texts([each]) for each in listed):
            raise self._error(f"{_NEGATIVES!r} holds something else than texts", "Write a JSON list of texts.")
        return [*texts, *map(replace_surrogates, listed)]

    def scores(self, n_documents: int) -> tuple[float, ...]:
        """The teacher's scores, if there are any: one for each document."""
        numbers = self._list(_SCORES)
        if not numbers:
            return ()
        if not all(map(_is_finite_number, numbers)):
            raise self._error(f"{_SCORES!r} holds something else than finite numbers", "Write a JSON list of numbers.")
        if len(numbers) != n_documents or n_documents < 2:
            raise self._error(
                f"{_SCORES!r} has {len(numbers)} numbers for {n_documents} documents",
                "Give one for the positive and one for each negative, of which there must be some.",
            )
        return tuple(map(float, numbers))

    def instruction(self) -> str | None:
        """The task of this row; None where it names none."""
        return None if self.record.cells.get(_INSTRUCTION) in (None, "") else self.text(_INSTRUCTION)

    def _list(self, column: str) -> Sequence[Any]:
        cell = self.record.cells.get(column)
        if cell is None or cell == "":
            return ()
        value = _parsed(cell)
        if not isinstance(value, list):
            raise self._error(f"{column!r} is no list", "Write a JSON list.")
        return value

    def _error(self, fact: str, advice: str) -> FileFormatError:
        return FileFormatError(f"{self.path}, line {self.record.line}: {fact}.", advice)


def _is_negative_column(name: str) -> bool:
    head, _, number = name.partition("_")
    return name == _NEGATIVE or (head == _NEGATIVE and number.isdecimal())


def _parsed(cell: Cell) -> Any:
    """The value of a cell: JSON's own, or JSON written into a cell of CSV or Parquet."""
    if isinstance(cell, NotText):
        return cell.value
    try:
        return json.loads(cell or "")
    except (ValueError, RecursionError):  # lists in lists, thousands deep
        return None


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def as_rows(example: Example, documents: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """An example as rows of a .jsonl file that `read_training_set` reads: one for each answer, with all negatives."""
    for index in example.positives:
        row: dict[str, Any] = {"query": example.query, "positive": documents[index]}
        if example.negatives:
            row[_NEGATIVES] = [documents[negative] for negative in example.negatives]
        if example.instruction is not None:
            row[_INSTRUCTION] = example.instruction
        yield row
