"""The rows of one file, forwards from any row on, with the columns that go along as an Arrow table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from e5studio.files.arrow import import_pyarrow
from e5studio.files.compression import ending_of
from e5studio.files.decoding import has_bad_byte
from e5studio.files.parquet import open_parquet, text_cells
from e5studio.files.records import PARQUET, NotText, Record
from e5studio.files.remote import located
from e5studio.files.texts import Row, TextSource
from e5studio.jobs.corpus import Corpus
from e5studio.tokenization import replace_surrogates

_ROWS_AT_ONCE = 256


class RowStream(Protocol):
    """The rows of one file, forwards."""

    def take(self, n: int) -> tuple[list[Row], Any]:
        """The next rows, and a table of the columns that go along; fewer at the file's end."""

    def skip(self, n: int) -> None:
        """Pass over rows."""


class RecordStream:
    """Rows of text files, which are read from their beginning."""

    def __init__(self, source: TextSource, schema: Any, start: int) -> None:
        self._source, self._schema, self._records = source, schema, source.records()
        self.skip(start)

    def skip(self, n: int) -> None:
        """Pass over rows."""
        for _ in itertools.islice(self._records, n):
            pass

    def take(self, n: int) -> tuple[list[Row], Any]:
        """The next rows, and a table of the columns that go along."""
        records = list(itertools.islice(self._records, n))
        rows = [self._source.row_of(record) for record in records]
        return rows, None if self._schema is None else _table_of(records, self._schema)


class ParquetStream:
    """Rows of a Parquet file with their columns as they are; whole groups of rows are passed over unread."""

    def __init__(self, path: Path, column: str, schema: Any, start: int) -> None:
        self._path, self._column, self._schema = path, column, schema
        self._batches = self._read(start)
        self._row = start
        self._rest: Any = None

    def skip(self, n: int) -> None:
        """Pass over rows."""
        while n > 0 and (n_passed := len(self.take(min(n, _ROWS_AT_ONCE))[0])):
            n -= n_passed

    def take(self, n: int) -> tuple[list[Row], Any]:
        """The next rows, and a table of the columns that go along."""
        if self._rest is None or not self._rest.num_rows:
            self._rest = next(self._batches, None)
        parts = []
        while self._rest is not None and n > 0:
            parts.append(self._rest.slice(0, n))
            n -= parts[-1].num_rows
            self._rest = self._rest.slice(parts[-1].num_rows) if n == 0 else next(self._batches, None)
        rows = [row for part in parts for row in self._rows_of(part)]
        return rows, None if self._schema is None else self._columns_of(parts)

    def _read(self, start: int) -> Iterator[Any]:
        with open_parquet(self._path) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            ends = list(itertools.accumulate(sizes))
            groups = [index for index, end in enumerate(ends) if end > start]
            passed = ends[groups[0] - 1] if groups and groups[0] else 0
            wanted = {self._column, *(self._schema.names if self._schema is not None else ())}
            columns = [name for name in file.schema_arrow.names if name in wanted]
            to_skip = start - passed
            for batch in file.iter_batches(batch_size=1024, row_groups=groups, columns=columns):
                n_skipped = min(to_skip, batch.num_rows)
                to_skip -= n_skipped
                if n_skipped < batch.num_rows:
                    yield batch.slice(n_skipped)

    def _rows_of(self, batch: Any) -> Iterator[Row]:
        first, self._row = self._row + 1, self._row + batch.num_rows
        return rows_of_column(batch.column(self._column), self._column, first)

    def _columns_of(self, parts: list[Any]) -> Any:
        arrow = import_pyarrow()
        tables = []
        for part in parts:
            names = part.schema.names
            columns = [
                part.column(field.name).cast(field.type)
                if field.name in names
                else arrow.nulls(part.num_rows, field.type)
                for field in self._schema
            ]
            tables.append(arrow.table(columns, schema=self._schema))
        return arrow.concat_tables(tables) if tables else self._schema.empty_table()


def rows_of_column(column: Any, name: str, first: int) -> Iterator[Row]:
    """The texts of a column of Arrow, whose rows count from `first`."""
    for row, cell in enumerate(text_cells(column), first):
        if cell is None:
            yield Row(row, None, "missing", f"row {row}: the value of {name!r} is null")
        elif has_bad_byte(cell):
            yield Row(row, None, "bad_type", f"row {row}: {name!r} is not text but bytes that are no UTF-8")
        else:
            yield Row(row, cell)


def _table_of(records: Sequence[Record], schema: Any) -> Any:
    arrow = import_pyarrow()
    columns = []
    for field in schema:
        cells = [record.cells.get(field.name) for record in records]
        values = map(_as_text, cells) if str(field.type) == "string" else (_value(cell, field.type) for cell in cells)
        columns.append(arrow.array(list(values), field.type))
    return arrow.table(columns, schema=schema)


def _as_text(cell: str | NotText | None) -> str | None:
    if isinstance(cell, NotText):
        return replace_surrogates(json.dumps(cell.value, ensure_ascii=False))
    return cell and replace_surrogates(cell)


def _value(cell: str | NotText | None, data_type: Any) -> Any:
    value = cell.value if isinstance(cell, NotText) else None
    return float(value) if str(data_type) == "double" and value is not None else value


def schema_of(corpus: Corpus) -> Any:
    """The columns that go along, with the types that their files give them."""
    arrow = import_pyarrow()
    types: dict[str, Any] = {
        str(each): each for each in (arrow.string(), arrow.int64(), arrow.float64(), arrow.bool_())
    }
    for file in corpus.files:
        if ending_of(Path(file.path)) in PARQUET and not {*corpus.fields.values()} <= types.keys():
            with open_parquet(located(file.path)) as opened:
                types |= {str(field.type): field.type for field in opened.schema_arrow}
    # Arrow takes no rows of a view.
    types |= {"string_view": arrow.large_string(), "binary_view": arrow.large_binary()}
    return arrow.schema([(name, types[kind]) for name, kind in corpus.fields.items()])
