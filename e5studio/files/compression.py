"""Files of text as bytes, also those that gzip or zstd compressed."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from e5studio.errors import FileFormatError
from e5studio.files.arrow import import_pyarrow

COMPRESSIONS = (".gz", ".zst")


def ending_of(path: Path) -> str:
    """The ending that says how a file is read: of "corpus.jsonl.gz" it is ".jsonl"."""
    ending = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if ending in COMPRESSIONS else ending


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading; one whose name ends in .gz or .zst is decompressed while it is read.

    Raises:
        FileFormatError: It is not compressed as its name says, or is cut; also raised while it is read.
        MissingDependencyError: zstd needs pyarrow.
    """
    ending = path.suffix.lower()
    if ending not in COMPRESSIONS:
        return path.open("rb")
    raw = path.open("rb")
    if ending == ".gz":
        return cast(BinaryIO, io.BufferedReader(_Checked(path, gzip.GzipFile(fileobj=raw), raw), 1 << 16))
    arrow = import_pyarrow()
    return cast(BinaryIO, io.BufferedReader(_Checked(path, arrow.CompressedInputStream(raw, "zstd"), raw), 1 << 16))


class _Checked(io.RawIOBase):
    """A decompressing stream whose errors name the file."""

    def __init__(self, path: Path, stream: Any, raw: BinaryIO) -> None:
        self._path, self._stream, self._raw = path, stream, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            content = self._stream.read(len(view))
        except (EOFError, OSError, zlib.error) as error:
            reason = str(error).split("\n", maxsplit=1)[0][:200].rstrip(".")
            raise FileFormatError(
                f"{self._path} cannot be decompressed ({reason}): it is damaged, cut, or not compressed as its name "
                "says. Bring the whole file, or decompress it first."
            ) from error
        view[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.close()
            self._raw.close()
