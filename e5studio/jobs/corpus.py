"""The texts of one file or many, as one sequence of rows that can be read from any row on."""

from __future__ import annotations

import glob
import itertools
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from e5studio.errors import FileFormatError
from e5studio.file_digest import sha256_of
from e5studio.files.arrow import import_pyarrow
from e5studio.files.compression import ending_of
from e5studio.files.decoding import has_bad_byte
from e5studio.files.parquet import open_parquet, text_cells
from e5studio.files.records import JSON_LINES, PARQUET, RECORD_ENDINGS, NotText, Record
from e5studio.files.texts import Row, TextSource, find_texts
from e5studio.tokenization import replace_surrogates

PLAN = "job.json"
"""The file by which the folder of a job is known."""
BLOCK_ROWS = 4096
_BLOCK_CHARS = 16_000_000
_ROWS_AT_ONCE = 256
_MAX_FIELDS = 1000
_KINDS = {"str": "string", "int": "int64", "float": "double", "bool": "bool"}
_INT64 = range(-(2**63), 2**63)
_EXACT_IN_DOUBLE = range(-(2**53), 2**53 + 1)
_LARGE = "int64 beyond double"
_NAMES_LISTED = 20


@dataclass(frozen=True)
class InputFile:
    """One file of texts.

    Attributes:
        path: Where it is.
        n_bytes: Its size.
        sha256: Its digest.
        n_rows: Its rows, including those with a problem.
    """

    path: str
    n_bytes: int
    sha256: str
    n_rows: int


@dataclass(frozen=True)
class Corpus:
    """Files of texts that were read through once.

    Attributes:
        files: The files, whose rows follow each other.
        reading: The options of `find_texts`.
        keep: The columns that were chosen; None for all.
        column: The column of the texts.
        fields: The columns that go along with the vectors, and their types as Arrow names them.
    """

    files: tuple[InputFile, ...]
    reading: Mapping[str, Any]
    keep: tuple[str, ...] | None
    column: str
    fields: Mapping[str, str]

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(file.n_rows for file in self.files)

    @property
    def name(self) -> str:
        """The files in a few words."""
        n_more = len(self.files) - 1
        return Path(self.files[0].path).name + (f" and {n_more:,} more" if n_more else "")


def expand(arguments: Sequence[Path], ignoring: Collection[Path] = ()) -> list[Path]:
    """The files that are meant by files, folders and patterns such as "corpus/*.jsonl".

    Args:
        arguments: The files, folders and patterns.
        ignoring: Files that folders and patterns do not mean, such as the output.

    Raises:
        FileFormatError: A pattern or a folder holds no file of texts, a folder several kinds, or a file comes twice.
    """
    paths: list[Path] = []
    ignored = {path.resolve() for path in ignoring}
    for argument in arguments:
        if argument.is_dir():
            paths += _files_in(argument, ignored)
        elif not argument.exists() and glob.has_magic(str(argument)):
            matches = sorted(Path(match) for match in glob.glob(str(argument), recursive=True))
            files = [
                each for each in matches if each.is_file() and each.resolve() not in ignored and not _is_of_job(each)
            ]
            if not files:
                raise FileFormatError(f"No file matches {argument}.")
            paths += files
        else:
            paths.append(argument)
    taken: set[Path] = set()
    for path in paths:
        if path.exists() and not path.is_file():
            raise FileFormatError(f"{path} is no file on a disk. Texts are read twice, so save them in one.")
        if path.resolve() in taken:
            raise FileFormatError(f"{path} is given twice, so its rows would be embedded twice. Give it once.")
        taken.add(path.resolve())
    return paths


def _files_in(folder: Path, ignored: set[Path]) -> list[Path]:
    """The files of texts in a folder and those below it, also those behind links.

    Hidden ones, marks such as _SUCCESS, and what is in the folder of a job are none.
    """
    below = (path for path in _below(folder, {folder.resolve()}) if ending_of(path) in RECORD_ENDINGS)
    paths = sorted(path for path in below if path.resolve() not in ignored)
    if dangling := next((path for path in paths if not path.exists()), None):
        raise FileFormatError(f"{dangling} is a link to nothing. Mend it, or remove it.")
    endings = sorted({ending_of(path) for path in paths})
    if not paths:
        raise FileFormatError(f"{folder} holds no file of texts ({', '.join(sorted(RECORD_ENDINGS))}).")
    if len(endings) > 1:
        raise FileFormatError(
            f"{folder} holds files of several kinds: {', '.join(endings)}. Say which are meant, as "
            f"'{folder}/*{endings[0]}'."
        )
    return paths


def _below(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """What is in a folder and below it, each folder once."""
    if (folder / PLAN).is_file():
        return
    for path in sorted(folder.iterdir()):
        if path.name[0] in "._":
            continue
        if not path.is_dir():
            yield path
        elif (real := path.resolve()) not in seen:
            seen.add(real)
            yield from _below(path, seen)


def _is_of_job(path: Path) -> bool:
    return any((parent / PLAN).is_file() for parent in path.parents)


def measure(paths: Iterable[Path]) -> tuple[InputFile, ...]:
    """Sizes and digests of files; their rows are not counted."""
    return tuple(InputFile(os.path.abspath(path), path.stat().st_size, sha256_of(path), 0) for path in paths)


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
    counted, column = [], ""
    kinds_of: dict[str, dict[str, set[str]]] = {}
    for file in files:
        source = find_texts(Path(file.path), **reading)
        if column and source.column != column:
            raise FileFormatError(
                f"{files[0].path} has its texts in column {column!r}, {file.path} in {source.column!r}. Choose one "
                "with --column, or make two jobs."
            )
        column = source.column
        kinds: dict[str, set[str]] = {}
        see = _Fields(kinds, file.path, keep).see if ending_of(source.path) in JSON_LINES and keep != () else None
        counted.append(InputFile(file.path, file.n_bytes, file.sha256, source.count(see)))
        kinds_of[file.path] = kinds if see else _declared(source)
    fields = _joined(kinds_of, keep)
    if clashing := sorted(reserved & fields.keys()):
        others = ",".join(name for name in list(fields)[:3] if name not in reserved)
        raise FileFormatError(
            f"The texts come with a column {clashing[0]!r}, which the output has as its own. Say which columns to keep "
            f"without it (--keep {others or repr('')}), or rename it."
        )
    return Corpus(tuple(counted), dict(reading), None if keep is None else tuple(keep), column, fields)


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


@dataclass(frozen=True)
class Block:
    """Some rows that follow each other, as many as are embedded together.

    Attributes:
        first: Number of the first row in the corpus.
        rows: Their texts.
        files: The file of each.
        columns: A `pyarrow.Table` of the columns that go along; None where there are none.
    """

    first: int
    rows: list[Row]
    files: list[str]
    columns: Any


class CorpusReader:
    """Reads any rows of a corpus; fastest forwards, since text files have no index of their rows.

    Args:
        corpus: What to read. The files are taken to be those that it describes.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._first_rows = list(itertools.accumulate((file.n_rows for file in corpus.files), initial=0))
        self._stats = [_stat_of(file.path) for file in corpus.files]
        self.schema = _schema_of(corpus) if corpus.fields else None
        self._open: tuple[int, int, _Stream] | None = None  # file, next row, stream

    def blocks(self, start: int, stop: int) -> Iterator[Block]:
        """The rows from `start` up to `stop`, in blocks that depend on the rows alone.

        Raises:
            FileFormatError: A file is not what it was.
            OSError: A file cannot be read.
        """
        pieces = self._pieces(start, stop)
        first, held, n_rows, n_chars = start, [], 0, 0
        for piece in pieces:
            held.append(piece)
            n_rows += len(piece[1])
            n_chars += sum(len(row.text or "") for row in piece[1])
            if n_rows >= BLOCK_ROWS or n_chars >= _BLOCK_CHARS:
                yield self._block(first, held)
                first, held, n_rows, n_chars = first + n_rows, [], 0, 0
        if held:
            yield self._block(first, held)

    def check_unchanged(self) -> None:
        """Refuse to go on with a file that changed since it was read first.

        Raises:
            FileFormatError: One did.
            OSError: One is gone.
        """
        for file, before in zip(self.corpus.files, self._stats, strict=True):
            if before[0] != file.n_bytes or _stat_of(file.path) != before:
                raise _changed(file.path)

    def _block(self, first: int, pieces: list[tuple[str, list[Row], Any]]) -> Block:
        rows = [row for _, rows, _ in pieces for row in rows]
        files = [path for path, rows, _ in pieces for _ in rows]
        columns = import_pyarrow().concat_tables([table for _, _, table in pieces]) if self.schema is not None else None
        return Block(first, rows, files, columns)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[str, list[Row], Any]]:
        for index, file in enumerate(self.corpus.files):
            row, end = max(start - self._first_rows[index], 0), min(stop - self._first_rows[index], file.n_rows)
            while row < end:
                n_wanted = min(_ROWS_AT_ONCE, end - row)
                rows, table = self._stream_at(index, row).take(n_wanted)
                if len(rows) != n_wanted:
                    raise _changed(file.path)
                row += n_wanted
                assert self._open is not None
                self._open = (index, row, self._open[2])
                yield file.path, rows, table

    def _stream_at(self, index: int, row: int) -> _Stream:
        if self._open is not None and self._open[:2] == (index, row):
            return self._open[2]
        path = Path(self.corpus.files[index].path)
        stream: _Stream
        if ending_of(path) in PARQUET:
            stream = _ParquetStream(path, self.corpus.column, self.schema, row)
        elif self._open is not None and self._open[0] == index and self._open[1] < row:
            stream = self._open[2]
            stream.skip(row - self._open[1])
        else:
            stream = _RecordStream(find_texts(path, **self.corpus.reading), self.schema, row)
        self._open = (index, row, stream)
        return stream


class _Stream(Protocol):
    """The rows of one file, forwards."""

    def take(self, n: int) -> tuple[list[Row], Any]:
        """The next rows, and a table of the columns that go along; fewer at the file's end."""

    def skip(self, n: int) -> None:
        """Pass over rows."""


class _RecordStream:
    def __init__(self, source: TextSource, schema: Any, start: int) -> None:
        self._source, self._schema, self._records = source, schema, source.records()
        self.skip(start)

    def skip(self, n: int) -> None:
        for _ in itertools.islice(self._records, n):
            pass

    def take(self, n: int) -> tuple[list[Row], Any]:
        records = list(itertools.islice(self._records, n))
        rows = [self._source.row_of(record) for record in records]
        return rows, None if self._schema is None else _table_of(records, self._schema)


class _ParquetStream:
    """Rows of a Parquet file with their columns as they are; whole groups of rows are passed over unread."""

    def __init__(self, path: Path, column: str, schema: Any, start: int) -> None:
        self._path, self._column, self._schema = path, column, schema
        self._batches = self._read(start)
        self._row = start
        self._rest: Any = None

    def skip(self, n: int) -> None:
        while n > 0 and (n_passed := len(self.take(min(n, _ROWS_AT_ONCE))[0])):
            n -= n_passed

    def take(self, n: int) -> tuple[list[Row], Any]:
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
        for cell in text_cells(batch.column(self._column)):
            self._row += 1
            if cell is None:
                yield Row(self._row, None, "missing", f"row {self._row}: the value of {self._column!r} is null")
            elif has_bad_byte(cell):
                problem = f"row {self._row}: {self._column!r} is not text but bytes that are no UTF-8"
                yield Row(self._row, None, "bad_type", problem)
            else:
                yield Row(self._row, cell)

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


def _schema_of(corpus: Corpus) -> Any:
    """The columns that go along, with the types that their files give them."""
    arrow = import_pyarrow()
    types: dict[str, Any] = {
        str(each): each for each in (arrow.string(), arrow.int64(), arrow.float64(), arrow.bool_())
    }
    for file in corpus.files:
        if ending_of(Path(file.path)) in PARQUET and not {*corpus.fields.values()} <= types.keys():
            with open_parquet(Path(file.path)) as opened:
                types |= {str(field.type): field.type for field in opened.schema_arrow}
    # Arrow takes no rows of a view.
    types |= {"string_view": arrow.large_string(), "binary_view": arrow.large_binary()}
    return arrow.schema([(name, types[kind]) for name, kind in corpus.fields.items()])


def _stat_of(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def _changed(path: str) -> FileFormatError:
    return FileFormatError(
        f"{path} changed since it was read first. What was embedded before is whole: bring back the file as it was to "
        "go on, or begin anew with another output."
    )
