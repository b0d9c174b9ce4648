"""Opening Parquet files through pyarrow, which is optional."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError, MissingDependencyError


def import_pyarrow(module: str = "pyarrow") -> Any:
    """A module of pyarrow.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError("Parquet files need pyarrow. Install it with: pip install pyarrow") from error


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`; what is damaged in it becomes an error of ours.

    Raises:
        FileFormatError: It is no Parquet file, or is damaged.
    """
    pyarrow = import_pyarrow()
    parquet = import_pyarrow("pyarrow.parquet")
    with path.open("rb") as source:  # a file that is missing or not readable says so in Python's own words
        try:
            with parquet.ParquetFile(source) as file:
                yield file
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
            raise FileFormatError(f"{path} cannot be read as Parquet: {_first_sentence(error)}.") from error


def text_columns(path: Path) -> dict[str, bool]:
    """The columns of a Parquet file, and whether each holds text."""
    types = import_pyarrow("pyarrow.types")
    with open_parquet(path) as file:
        return {field.name: _is_text(types, field.type) for field in file.schema_arrow}


def _is_text(types: Any, data_type: Any) -> bool:
    if types.is_dictionary(data_type):
        return _is_text(types, data_type.value_type)
    return bool(types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type))


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0].split(". ")[0].rstrip(".")
