"""Reads the files of a corpus through once: how many rows they have, and which types hold their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError, NoRowsError
from e5studio.files.compression import ending_of
from e5studio.files.parquet import open_parquet
from e5studio.files.records import JSON_LINES, PARQUET, NotText, Record
from e5studio.files.remote import located
from e5studio.files.texts import TextSource, find_texts
from e5studio.jobs.corpus import Corpus, InputFile

_MAX_FIELDS = 1000
_KINDS = {"str": "string", "int": "int64", "float": "double", "bool": "bool"}
_INT64 = range(-(2**63), 2**63)
_EXACT_IN_DOUBLE = range(-(2**53), 2**53 + 1)
_LARGE = "int64 beyond double"
_NAMES_LISTED = 20


def scan(
    files: Sequence[InputFile], reading: Mapping[str, Any], keep: Sequence[str] | None, reserved: set[str]
) -> Corpus:
    """Read files through once: count their rows, and find the types of the columns that go along.

    Args:
        files: From `measure`.
        reading: The options of `find_texts`.
        keep: The columns that go along; None for all.
        reserved: Names that such a column cannot have.

    Raises:
        FileFormatError: A file cannot be read, or files or columns do not fit together.
    """
    counted: list[InputFile] = []
    columns: dict[str, str] = {}
    kinds_of: dict[str, Mapping[str, set[str]]] = {}
    for file in files:
        try:
            n_rows, columns[file.path], kinds_of[file.path] = _scan_file(located(file.path), reading, keep)
        except NoRowsError:
            if len(files) == 1:
                raise
            n_rows = 0
        counted.append(replace(file, n_rows=n_rows))
    column = _one_column(columns)
    fields = _joined(kinds_of, keep)
    if clashing := sorted(reserved & fields.keys()):
        others = ",".join(name for name in list(fields)[:3] if name not in reserved)
        raise FileFormatError(
            f"The texts come with a column {clashing[0]!r}, which the output has as its own. Say which columns to keep "
            f"without it (--keep {others or repr('')}), or rename it."
        )
    return Corpus(tuple(counted), dict(reading), None if keep is None else tuple(keep), column, fields)


def _scan_file(
    path: Path, reading: Mapping[str, Any], keep: Sequence[str] | None
) -> tuple[int, str, Mapping[str, set[str]]]:
    """The rows of a file, the column of its texts, and the types of its columns."""
    source = find_texts(path, **reading)
    if ending_of(path) not in JSON_LINES or keep == ():
        return source.count(), source.column, _declared(source)
    kinds: dict[str, set[str]] = {}
    return source.count(_Fields(kinds, str(path), keep).see), source.column, kinds


def _one_column(columns: Mapping[str, str]) -> str:
    """The column of the texts, which is the same in all files that have rows."""
    if not columns:
        raise NoRowsError("None of the files has a row.")
    first, column = next(iter(columns.items()))
    for path, other in columns.items():
        if other != column:
            raise FileFormatError(
                f"{first} has its texts in column {column!r}, {path} in {other!r}. Choose one with --column, or make "
                "two jobs."
            )
    return column


class _Fields:
    """Collects the fields of JSONL objects and the types of their values."""

    def __init__(self, kinds: dict[str, set[str]], path: str, keep: Sequence[str] | None) -> None:
        self._kinds, self._path, self._keep = kinds, path, keep

    def see(self, record: Record) -> None:
        for name, cell in record.cells.items():
            if self._keep is not None and name not in self._keep:
                if len(self._kinds) < len(self._keep) + _NAMES_LISTED:
                    self._kinds.setdefault(name, set())
                continue
            kinds = self._kinds.setdefault(name, set())
            if isinstance(cell, str):
                kinds.add("string")
            elif cell is not None:
                kinds.add(_kind_of(cell))
        if len(self._kinds) > _MAX_FIELDS:
            raise FileFormatError(
                f"The objects of {self._path} have more than {_MAX_FIELDS:,} different fields. Say which to keep with "
                "--keep."
            )


def _kind_of(cell: NotText) -> str:
    """The type that holds a value; of whole numbers also whether a double would."""
    kind = _KINDS.get(cell.kind, "string")
    if kind != "int64" or cell.value in _EXACT_IN_DOUBLE:
        return kind
    return _LARGE if cell.value in _INT64 else "string"


def _declared(source: TextSource) -> dict[str, set[str]]:
    if ending_of(source.path) in PARQUET:
        with open_parquet(source.path) as file:
            return {field.name: {str(field.type)} for field in file.schema_arrow}
    return {name: {"string"} for name in source.columns}


def _joined(kinds_of: Mapping[str, Mapping[str, set[str]]], keep: Sequence[str] | None) -> dict[str, str]:
    """The columns of all files and the type that holds the values of each."""
    joined: dict[str, set[str]] = {}
    for of_file in kinds_of.values():
        for name, each in of_file.items():
            joined.setdefault(name, set()).update(each)
    if missing := [name for name in keep or () if name not in joined]:
        listed = ", ".join(map(repr, list(joined)[:_NAMES_LISTED]))
        raise FileFormatError(f"No file has a column {missing[0]!r} to keep. There are: {listed}.")
    fields = {}
    for name in joined if keep is None else keep:
        kinds = joined[name]
        if _LARGE in kinds:
            kinds = {"int64"} if kinds <= {"int64", _LARGE} else {"string"}
        if kinds == {"int64", "double"}:
            kinds = {"double"}
        elif len(kinds) != 1 and kinds <= set(_KINDS.values()):
            kinds = {"string"}
        if len(kinds) > 1:
            raise FileFormatError(
                f"Column {name!r} is {' in one file and '.join(sorted(kinds))} in another. Write them with one type, "
                "or leave the column out with --keep."
            )
        [fields[name]] = kinds
    return fields
