"""The rows of a corpus from any row on, in blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e5studio.errors import FileFormatError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.compression import ending_of
from e5studio.files.records import PARQUET
from e5studio.files.remote import RemotePath, located
from e5studio.files.texts import Row, find_texts
from e5studio.jobs.corpus import Corpus, InputFile
from e5studio.jobs.row_streams import ParquetStream, RecordStream, RowStream, schema_of

BLOCK_ROWS = 4096
_BLOCK_CHARS = 16_000_000
_ROWS_AT_ONCE = 256


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
        # What a remote file was when it was planned stands in the plan.
        self._versions = [file.version or _version_of(file) for file in corpus.files]
        self.schema = schema_of(corpus) if corpus.fields else None
        self._open: tuple[int, int, RowStream] | None = None  # file, next row, stream

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

    def check_unchanged(self, start: int = 0, stop: int | None = None) -> None:
        """Refuse to go on with a file of some rows that changed since it was read first.

        Raises:
            FileFormatError: One did.
            OSError: One is gone.
        """
        stop = self.corpus.n_rows if stop is None else stop
        for index, file in enumerate(self.corpus.files):
            is_read = self._first_rows[index] < stop and start < self._first_rows[index + 1]
            if is_read and (located(file.path).stat().st_size, _version_of(file)) != (
                file.n_bytes,
                self._versions[index],
            ):
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

    def _stream_at(self, index: int, row: int) -> RowStream:
        if self._open is not None and self._open[:2] == (index, row):
            return self._open[2]
        path = located(self.corpus.files[index].path)
        stream: RowStream
        if ending_of(path) in PARQUET:
            stream = ParquetStream(path, self.corpus.column, self.schema, row)
        elif self._open is not None and self._open[0] == index and self._open[1] < row:
            stream = self._open[2]
            stream.skip(row - self._open[1])
        else:
            stream = RecordStream(find_texts(path, **self.corpus.reading), self.schema, row)
        self._open = (index, row, stream)
        return stream


def _version_of(file: InputFile) -> str:
    path = located(file.path)
    return path.version() if isinstance(path, RemotePath) else str(path.stat().st_mtime_ns)


def _changed(path: str) -> FileFormatError:
    return FileFormatError(
        f"{path} changed since it was read first. What was embedded before is whole: bring back the file as it was to "
        "go on, or begin anew with another output."
    )
