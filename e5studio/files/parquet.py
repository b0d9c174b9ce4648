"""Opening Parquet files through pyarrow, which is optional."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError, MissingDependencyError
from e5studio.files.delimited import check_column_count, refuse_repeated

_ROWS_AT_ONCE = 256


def import_pyarrow(module: str = "pyarrow") -> Any:
    """A module of pyarrow; a MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError("Parquet files need pyarrow. Install it with: pip install pyarrow") from error


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


def scalar_columns(path: Path, max_columns: int | None = None) -> dict[str, str]:
    """The columns of a Parquet file whose values can be written as text, and their types: "text", "int64", ...

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
    scalars = {field.name: kinds[field.name] for field in fields if _is_scalar(types, field.type)}
    if not scalars:
        listed = ", ".join(f"{name!r} ({kind[:80]})" for name, kind in itertools.islice(kinds.items(), 20))
        raise FileFormatError(
            f"{path} has no column of text. Its columns: {listed or 'none'}. Save the texts in a column of type string."
        )
    return scalars


def parquet_cells(path: Path, columns: dict[str, str]) -> Iterator[list[list[str | None]]]:
    """The cells of some columns as text, a list for each column, some hundred rows at a time.

    Args:
        path: The file.
        columns: Some of `scalar_columns`.
    """
    strings = import_pyarrow().string()
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns)):
            cells = zip(columns.values(), batch.columns, strict=True)
            yield [(column if kind == "text" else column.cast(strings)).to_pylist() for kind, column in cells]


def _is_scalar(types: Any, data_type: Any) -> bool:
    is_number = types.is_integer(data_type) or types.is_float32(data_type) or types.is_float64(data_type)
    is_other = types.is_boolean(data_type) or types.is_decimal(data_type) or types.is_temporal(data_type)
    return bool(_is_text(types, data_type) or is_number or is_other)


def _is_text(types: Any, data_type: Any) -> bool:
    if types.is_dictionary(data_type):
        return _is_text(types, data_type.value_type)
    return bool(types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type))


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0].split(". ")[0].rstrip(".")
