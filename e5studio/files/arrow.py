"""pyarrow, which is optional."""

from __future__ import annotations

import importlib
from typing import Any

from e5studio.errors import MissingDependencyError


def import_pyarrow(module: str = "pyarrow") -> Any:
    """A module of pyarrow; a MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files, and those that zstd compressed, need pyarrow. Install it with: pip install pyarrow"
        ) from error
