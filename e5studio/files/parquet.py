"""Opening Parquet files through pyarrow, which is optional."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from e5studio.errors import FileFormatError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.decoding import KEEP_BAD_BYTES
from e5studio.files.delimited import check_column_count, refuse_repeated

_ROWS_AT_ONCE = 256
_AS_STRING = "Save the texts in a column of type string."
_AS_UTF8 = "Mark the texts as UTF-8: in pyarrow, cast the column to pyarrow.string()."


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`; pyarrow's errors become `FileFormatError`.

    Raises:
        FileFormatError: It is damaged or not a Parquet file.
    """
    pyarrow = import_pyarrow()
    parquet = import_pyarrow("pyarrow.parquet")
    with path.open("rb") as source:  # Python's own OSError if it is missing or not readable
        try:
            with parquet.ParquetFile(source, page_checksum_verification=True) as file:
                yield file
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
            raise FileFormatError(f"{path} cannot be read as Parquet: {_first_sentence(error)}.") from error


def text_columns(path: Path) -> dict[str, bool]:
    """The columns of a Parquet file, and whether each holds text."""
    types = import_pyarrow("pyarrow.types")
    with open_parquet(path) as file:
        return {field.name: _is_text(types, field.type) for field in file.schema_arrow}


@dataclass(frozen=True)
class ParquetColumns:
    """The columns of a Parquet file.

    Attributes:
        kinds: Those whose values can be written as text, and their types: "text", "int64", ...
        unfit: The others, and their types.
        may_hold_text: Those of `unfit` in which texts stand, in another form.
    """

    kinds: dict[str, str]
    unfit: dict[str, str]
    may_hold_text: tuple[str, ...]


def parquet_columns(path: Path, max_columns: int | None = None) -> ParquetColumns:
    """The columns of a Parquet file.

    Raises:
        FileFormatError: It is damaged or not a Parquet file, repeats a column's name, has more than max_columns, or no
            column whose values can be written as text.
    """
    types = import_pyarrow("pyarrow.types")
    with open_parquet(path) as file:
        fields = list(file.schema_arrow)
    check_column_count(path, len(fields), max_columns)
    refuse_repeated(path, (field.name for field in fields), ". Rename one.")
    kinds = {field.name: "text" if _is_text(types, field.type) else str(field.type) for field in fields}
    unfit = {field.name: str(field.type)[:80] for field in fields if not _is_scalar(types, field.type)}
    if len(unfit) == len(fields):
        listed = ", ".join(f"{name!r} ({kind})" for name, kind in itertools.islice(unfit.items(), 20))
        advice = next((_AS_UTF8 for kind in unfit.values() if _is_name_of_bytes(kind)), _AS_STRING)
        raise FileFormatError(f"{path} has no column of text. Its columns: {listed or 'none'}. {advice}")
    return ParquetColumns(
        {name: kind for name, kind in kinds.items() if name not in unfit},
        unfit,
        tuple(field.name for field in fields if field.name in unfit and _may_hold_text(types, field.type)),
    )


def parquet_cells(path: Path, columns: dict[str, str]) -> Iterator[list[list[str | None]]]:
    """The cells of some columns as text, a list for each column, some hundred rows at a time.

    `decoding.has_bad_byte` finds a text that is not UTF-8.

    Args:
        path: The file.
        columns: Some of the `kinds` of `parquet_columns`.
    """
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns)):
            yield batch_cells(batch, columns)


def batch_cells(batch: Any, columns: dict[str, str]) -> list[list[str | None]]:
    """As `parquet_cells`, of a batch of rows that was read already."""
    # pyarrow takes "a.b" for a field "b" of a structure "a" as well, so columns are found by their names
    return [_cells(batch.column(name), kind) for name, kind in columns.items()]


def _cells(column: Any, kind: str) -> list[str | None]:
    arrow = import_pyarrow()
    if kind != "text":
        try:
            return cast("list[str | None]", column.cast(arrow.string()).to_pylist())
        except arrow.ArrowInvalid:  # such as a time beyond the calendar
            return [None] * len(column)
    return text_cells(column)


def text_cells(column: Any) -> list[str | None]:
    """The cells of a column of text; `decoding.has_bad_byte` finds one that is not UTF-8."""
    arrow = import_pyarrow()
    try:
        return cast("list[str | None]", column.to_pylist())
    except UnicodeDecodeError:
        plain = column.dictionary_decode() if arrow.types.is_dictionary(column.type) else column
        return [cell and cell.decode(errors=KEEP_BAD_BYTES) for cell in plain.cast(arrow.large_binary()).to_pylist()]


def unfit_message(path: Path | str, name: str, kind: str, of_text: Sequence[str] = ()) -> str:
    """Why a column that is wanted holds no text, and what to do.

    Args:
        path: The file.
        name: The column.
        kind: Its type.
        of_text: The columns of text.
    """
    others = f" These do: {', '.join(map(repr, of_text))}." if of_text else ""
    advice = _AS_UTF8 if _is_name_of_bytes(kind) else _AS_STRING
    return f"Column {name!r} of {path}, {kind}, does not hold text.{others} {advice}"


def _is_name_of_bytes(kind: str) -> bool:
    return "binary" in kind.removeprefix("dictionary<values=").split("<")[0]


def _may_hold_text(types: Any, data_type: Any) -> bool:
    if types.is_nested(data_type):
        return any(_may_hold_text(types, data_type.field(index).type) for index in range(data_type.num_fields))
    return _is_text(types, data_type) or _is_bytes(types, data_type)


def _is_bytes(types: Any, data_type: Any) -> bool:
    if types.is_dictionary(data_type):
        return _is_bytes(types, data_type.value_type)
    checks = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return any(check(data_type) for check in checks)


def _is_scalar(types: Any, data_type: Any) -> bool:
    """Whether its values can be written as text; those of a time zone that is not known here cannot."""
    if types.is_nested(data_type) or types.is_null(data_type) or _is_bytes(types, data_type):
        return False
    arrow = import_pyarrow()
    try:
        arrow.nulls(1, data_type).cast(arrow.string())
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        return False
    return True


def _is_text(types: Any, data_type: Any) -> bool:
    if types.is_dictionary(data_type):
        return _is_text(types, data_type.value_type)
    return bool(types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type))


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0].split(". ")[0].rstrip(".")
