"""A stranger's Parquet file, written anew by another process, so that reading it can harm nothing but that process.

pyarrow believes what a file says of itself: a damaged one can end the process that reads it, and one of a few
kilobytes can take gigabytes. The other process has a bound on its memory; it decodes every cell, and what it writes is
plain. This module is also its program; it reads no text itself.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e5studio.errors import FileFormatError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.parquet import open_parquet

_log = logging.getLogger(__name__)

MAX_MEMORY = 2_000_000_000
"""Bytes of address space; pyarrow itself takes some 400 MB of it."""

_ROWS_AT_ONCE = 256
_BATCH_BYTES = 200_000_000
_FILE_BYTES = 1_000_000_000
_SECONDS = 120
_REFUSED = 3  # the exit status that comes with a sentence


@contextmanager
def rewritten(path: Path, max_rows: int | None) -> Iterator[Path]:
    """A copy of a Parquet file that is safe to read, for as long as the block lasts.

    Args:
        path: The file.
        max_rows: Little more than this is copied, enough to know a file that is too long; None: all rows.

    Raises:
        FileFormatError: It is damaged, is no Parquet file, or takes too much memory.
    """
    import_pyarrow()  # its absence is the caller's business, not the other process's
    with tempfile.TemporaryDirectory(prefix="e5studio-parquet-") as folder:
        copy = Path(folder) / "copy.parquet"
        _write_in_another_process(path, copy, max_rows)
        try:
            yield copy
        except FileFormatError as error:
            raise FileFormatError(str(error).replace(str(copy), str(path))) from error


def _write_in_another_process(path: Path, copy: Path, max_rows: int | None) -> None:
    ended = _run(path, copy, max_rows)
    if ended.returncode not in (0, _REFUSED):
        _log.warning("%s: the process that reads it ended with %d: %s", path, ended.returncode, ended.stderr[-1000:])
        ended = _run(path, copy, max_rows)  # a machine short of memory ends processes for no fault of the file
    if ended.returncode == _REFUSED:
        raise FileFormatError(ended.stdout.replace(str(path.absolute()), str(path)))
    if ended.returncode != 0:
        raise FileFormatError(
            f"{path} cannot be read as Parquet: it is damaged, or its cells take more than"
            f" {MAX_MEMORY // 10**9} GB of memory. Write it anew, or take a part of it."
        )


def _run(path: Path, copy: Path, max_rows: int | None) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        "PYTHONUTF8": "1",  # a path in any script comes back as it was
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve more than they use
    }
    command = [sys.executable, "-m", __name__, str(path.absolute()), str(copy), str(max_rows or 0)]
    try:
        # In a folder without modules, for Python would take them before its own.
        return subprocess.run(
            command, cwd=copy.parent, env=environment, capture_output=True, encoding="utf-8", timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise FileFormatError(f"{path} takes more than {_SECONDS} seconds to read. Take a part of it.") from error


def main(path: Path, copy: Path, max_rows: int | None) -> int:
    """Write a file anew; returns the exit status, and prints a sentence where it is refused."""
    _bound_memory()
    try:
        _write(path, copy, max_rows)
    except FileFormatError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    return 0


def _write(path: Path, copy: Path, max_rows: int | None) -> None:
    parquet = import_pyarrow("pyarrow.parquet")
    n_rows = n_bytes = 0
    with open_parquet(path) as file:
        schema = _plain_schema(file.schema_arrow)
        with parquet.ParquetWriter(copy, schema, compression="none", use_dictionary=False) as writer:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False):
                plain = _plain(batch, schema)
                n_rows, n_bytes = n_rows + len(plain), n_bytes + plain.nbytes
                if plain.nbytes > _BATCH_BYTES or n_bytes > _FILE_BYTES:
                    raise FileFormatError(
                        f"{path} holds {plain.nbytes:,} bytes in the {len(plain)} rows up to row {n_rows:,},"
                        f" {n_bytes:,} in all. At most {_BATCH_BYTES:,} in {_ROWS_AT_ONCE} rows and {_FILE_BYTES:,} in"
                        " all are read. Take a part of it."
                    )
                writer.write_batch(plain)
                if max_rows is not None and n_rows > max_rows:
                    return


def _plain_schema(schema: Any) -> Any:
    """The schema with every value stored where it stands: a few bytes may else stand for any number of cells."""
    for column, field in enumerate(schema):
        schema = schema.set(column, field.with_type(_plain_type(field.type)))
    return schema


def _plain_type(data_type: Any) -> Any:
    arrow, types = import_pyarrow(), import_pyarrow("pyarrow.types")
    if types.is_dictionary(data_type):
        return _plain_type(data_type.value_type)
    if types.is_string_view(data_type):
        return arrow.large_string()
    if types.is_binary_view(data_type):
        return arrow.large_binary()
    return data_type


def _plain(batch: Any, schema: Any) -> Any:
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return import_pyarrow().record_batch(columns, schema=schema)


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such bound; what is read is bounded all the same
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) or None)
    sys.stdout.flush()
    os._exit(status)  # nothing is left to do, and the threads of pyarrow need not be waited for
