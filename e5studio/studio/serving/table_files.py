"""Columns as files to download: CSV, Parquet, NumPy."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.files.arrow import import_pyarrow
from e5studio.studio.serving.downloads import Download
from e5studio.tokenization import replace_surrogates

Columns = dict[str, Sequence[Any] | NDArray[Any]]
_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".npy": "application/octet-stream",
    ".json": "application/json",
}
# Characters that begin a formula in spreadsheets (OWASP ASVS 5.0, 1.2.10), full-width forms as well, at the beginning
# of a cell or after a character that separates cells in other countries, quoted or not.
_FORMULA = re.compile('(^[ "]*|[;\t\r\n|][\\s"]*)(?=[-=+@\t\r\n\0\uff1d\uff0b\uff0d\uff20])')


def columns_file(name: str, columns: Columns, metadata: dict[str, str]) -> Download:
    """Columns as CSV or Parquet, by the ending of the name; CSV has no room for metadata.

    Raises:
        MissingDependencyError: Parquet without pyarrow.
    """
    return table_file(name, _csv(columns) if name.endswith(".csv") else _parquet(columns, metadata))


def _csv(columns: Columns) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for cells in zip(*columns.values(), strict=True):
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else f"{cell:.6g}" for cell in cells])
    return text.getvalue().encode("utf-8-sig")  # spreadsheets recognise UTF-8 by its mark


def safe_cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs: an apostrophe before anything that could be a formula."""
    return _FORMULA.sub(
        lambda match: f"{match[0]}'" if match[0].strip(' "') else f"'{match[0]}", replace_surrogates(text)
    )


def _parquet(columns: Columns, metadata: dict[str, str]) -> bytes:
    pyarrow = import_pyarrow()
    arrays = {
        name: [replace_surrogates(cell) if isinstance(cell, str) else cell for cell in cells]
        for name, cells in columns.items()
    }
    table = pyarrow.table(arrays).replace_schema_metadata(metadata)
    sink = io.BytesIO()
    import_pyarrow("pyarrow.parquet").write_table(table, sink)
    return sink.getvalue()


def npy_bytes(array: NDArray[Any]) -> bytes:
    """The array as the content of an .npy file."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def table_file(name: str, content: bytes) -> Download:
    """Bytes to save under a name; its ending decides their type."""
    return Download(content, _MEDIA_TYPES[name[name.rindex(".") :]], f"e5-{name}")
