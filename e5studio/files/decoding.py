"""Bytes of a file -> text: chooses the encoding and reports where it is wrong. Never guesses."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from e5studio.errors import FileEncodingError, FileFormatError

_SNIFFED_BYTES = 4096
_BINARY_MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x93NUMPY": "a numpy array",
    b"%PDF": "a PDF",
}
# UTF-32's little-endian mark begins with UTF-16's: longest first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def text_encoding(path: Path, requested: str | None) -> str:
    """The encoding to read a text file with: the requested one, that of its byte order mark, or UTF-8.

    Raises:
        FileFormatError: It is empty, or not a text file.
        FileEncodingError: It looks like UTF-16 without a mark, or the requested encoding does not exist.
    """
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    if not start:
        raise FileFormatError(f"{path} is empty.")
    for magic, name in _BINARY_MAGIC.items():
        if start.startswith(magic):
            raise FileFormatError(f"{path} is {name}, in spite of its name. Save it as CSV, JSONL or plain text.")
    if requested is not None:
        return _known_encoding(requested, start)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    if start.count(0) > len(start) // 4:
        raise FileEncodingError(
            f"{path} is full of zero bytes, as UTF-16 without a byte order mark is.",
            "Give its encoding: --encoding utf-16-le (or utf-16-be).",
        )
    return "utf-8"


@contextmanager
def decoded(path: Path, encoding: str, *, newline: str | None) -> Iterator[TextIO]:
    """Open a text file; a byte that is invalid in the encoding becomes an error that says where.

    Raises:
        FileEncodingError: Some byte is invalid in this encoding.
    """
    try:
        with path.open(encoding=encoding, newline=newline) as file:
            yield file
    except UnicodeError as error:
        # Python counts from the start of its own read buffer, so the position is searched again.
        offset, line = _first_bad_byte(path, encoding)
        raise FileEncodingError(
            f"{path} is not {encoding}: on line {line:,}, byte {offset:,} does not fit.",
            "Give the encoding it was saved with, for example --encoding cp1252.",
        ) from error


def _known_encoding(name: str, start: bytes) -> str:
    try:
        "".encode(name)  # also refuses codecs that are not for text, such as base64
    except LookupError as error:
        raise FileEncodingError(
            f"Unknown text encoding {name!r}.", "Use for example utf-8, utf-16, cp1252 or gb18030."
        ) from error
    encoding = codecs.lookup(name).name
    # Codecs with a byte order in their name keep a mark at the start, which would become part of the first column's
    # name; the codecs without read it.
    if encoding == "utf-8":
        return "utf-8-sig"
    has_mark = encoding.endswith(("-le", "-be")) and start.startswith("\ufeff".encode(encoding))
    return encoding[: -len("-le")] if has_mark else encoding


def _first_bad_byte(path: Path, encoding: str) -> tuple[int, int]:
    """Offset in the file, from 0, and line, from 1."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)  # knows \r\n also where two chunks part it
    position, line = 0, 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(1 << 16)
            position += len(chunk)
            try:
                line += newlines.decode(decoder.decode(chunk, final=not chunk)).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, "ignore")
                line += newlines.decode(before, final=True).count("\n")
                return position - len(error.object) + error.start, line
            except UnicodeError:
                return 0, 1  # the codec expects a byte order mark at the start
            if not chunk:
                return position, line
