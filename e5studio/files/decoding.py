"""Bytes of a file -> lines of text: chooses the encoding and reports where it is wrong. Never guesses."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Generator
from pathlib import Path

from e5studio.errors import FileEncodingError, NoRowsError
from e5studio.files.compression import open_bytes
from e5studio.files.foreign import refuse_foreign

_SNIFFED_BYTES = 4096
# UTF-32's little-endian mark begins with UTF-16's: longest first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BYTE_ORDER_MARK = "\ufeff"

# A byte that does not fit becomes half of a character, which no encoding gives otherwise: U+DC00 and its value.
KEEP_BAD_BYTES = "e5studio.keep_bad_bytes"
"""Name of an error handler of codecs, after which `has_bad_byte` finds such bytes."""
_BAD_BYTE = re.compile("[\ud800-\udfff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_COMPARED_BYTES = 16_000_000


def text_encoding(path: Path, requested: str | None) -> str:
    """The encoding to read a text file with: the requested one, that of its byte order mark, or UTF-8.

    Raises:
        NoRowsError: It is empty.
        FileFormatError: It is not a text file.
        FileEncodingError: It looks like UTF-16 without a mark, or the requested encoding does not exist or contradicts
            its mark or its bytes.
    """
    with open_bytes(path) as file:
        start = file.read(_SNIFFED_BYTES)
    if not start:
        raise NoRowsError(f"{path} is empty.")
    refuse_foreign(path, start)
    if requested is not None:
        encoding = _known_encoding(path, requested, start)
        _refuse_mojibake(path, encoding)
        return encoding
    if (marked := _marked_encoding(start)) is not None:
        return marked
    if _is_utf16(start):
        raise FileEncodingError(
            f"{path} is full of zero bytes, as UTF-16 without a byte order mark is.",
            f"Give its encoding: {_likely_encoding(start)}.",
        )
    return "utf-8"


def decoded_lines(path: Path, encoding: str, *, skip_bad_bytes: bool = False) -> Generator[str, None, None]:
    r"""The lines of a text file with their ends, as they are: \n, \r\n, \r, or none.

    Args:
        path: The file.
        encoding: From `text_encoding`.
        skip_bad_bytes: Keep a byte that is invalid in the encoding as something that `has_bad_byte` finds.

    Raises:
        FileEncodingError: Some byte is invalid in this encoding, unless such bytes are kept.
    """
    try:
        # Other separators of Unicode, such as U+2028, are part of a line; str.splitlines would break there.
        with io.TextIOWrapper(open_bytes(path), encoding, KEEP_BAD_BYTES, newline="") as file:
            for index, line in enumerate(file):
                if index == 0:
                    line = line.lstrip(BYTE_ORDER_MARK)  # some programs write it twice
                if not skip_bad_bytes and has_bad_byte(line):
                    raise bad_byte_error(path, encoding)
                yield line
    except UnicodeError as error:
        raise FileEncodingError(
            f"{path} is not {encoding}: {error}.", "Give the encoding it was saved with, for example --encoding cp1252."
        ) from error


def has_bad_byte(text: str) -> bool:
    """Whether a byte of the text was invalid in the encoding of its file."""
    return not text.isascii() and _BAD_BYTE.search(text) is not None


class BadBytes:
    """Names the rows with an invalid byte, and refuses a file that has too many of them."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Begin at the first row."""
        self._path = path
        self._encoding = encoding
        self._n_rows = self._n_bad = 0

    def problem(self, line: int, *, is_bad: bool) -> str:
        """What is wrong with the next row, "" if its bytes fit."""
        self._n_rows += 1
        self._n_bad += is_bad
        return f"line {line} has a byte that does not fit {self._encoding}" if is_bad else ""

    def check(self) -> None:
        """Refuse the file, after its last row, if half of the rows have such a byte.

        Raises:
            FileEncodingError: The file is probably in another encoding.
        """
        if self._n_bad and self._n_bad * 2 >= self._n_rows:
            raise bad_byte_error(self._path, self._encoding)


def bad_byte_error(path: Path, encoding: str) -> FileEncodingError:
    """The error that says where the first invalid byte is, and what to do about it."""
    offset, line = _first_bad_byte(path, encoding)
    return FileEncodingError(
        f"{path} is not {encoding}: on line {line:,}, byte {offset:,} does not fit.", _advice(path, encoding)
    )


def _advice(path: Path, encoding: str) -> str:
    """Correct the byte where the rest of the file is in the encoding; else name another encoding."""
    n_bad = n_good = 0
    with open_bytes(path) as file:
        start = file.read(_SNIFFED_BYTES)
    for line in decoded_lines(path, encoding, skip_bad_bytes=True):
        bad, good = _count_bad_and_good(line)
        n_bad, n_good = n_bad + bad, n_good + good
    if n_good > n_bad:
        return (
            f"{n_good:,} other characters do fit: correct the {n_bad:,} bytes that do not, or leave such rows out with "
            "--skip-bad-bytes."
        )
    return (
        f"Give the encoding it was saved with, for example {_likely_encoding(start)}; if only a few bytes are damaged, "
        "leave such rows out with --skip-bad-bytes."
    )


def _is_utf16(start: bytes) -> bool:
    """Whether every other byte of much of it is zero; in a damaged file all are, in a row."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    return even + odd > len(start) // 4 and min(even, odd) * 10 < max(even, odd)


def _likely_encoding(start: bytes) -> str:
    if 0 not in start:
        return "--encoding cp1252"
    return "--encoding utf-16-be" if start[::2].count(0) * 2 > start.count(0) else "--encoding utf-16-le"


def _marked_encoding(start: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None)


def _known_encoding(path: Path, name: str, start: bytes) -> str:
    try:
        "".encode(name)  # also refuses codecs that are not for text, such as base64
    except (LookupError, UnicodeError) as error:
        raise FileEncodingError(
            f"Unknown text encoding {name!r}.", "Use for example utf-8, utf-16, cp1252 or gb18030."
        ) from error
    encoding = codecs.lookup(name).name
    has_order = encoding.endswith(("-le", "-be"))
    has_mark = has_order and start.startswith(BYTE_ORDER_MARK.encode(encoding))
    marked = _marked_encoding(start)
    if marked is not None and (marked[:5] != encoding[:5] or (has_order and not has_mark)):
        raise FileEncodingError(
            f"{path} begins with the byte order mark of {marked.removesuffix('-sig')}, and is to be read as {name}.",
            "Leave --encoding out.",
        )
    # Codecs with a byte order in their name keep a mark at the start, which would become part of the first column's
    # name; the codecs without read it.
    if encoding == "utf-8":
        return "utf-8-sig"
    return encoding[: -len("-le")] if has_mark else encoding


def _refuse_mojibake(path: Path, encoding: str) -> None:
    """Refuse an encoding of single bytes, every byte of which fits some character, for what plainly is UTF-8."""
    leading_bytes = b"\xc3\xe2"  # of characters of two and three bytes; alone they are none in UTF-8 or in East Asia
    if "\ufffd" in "".join(bytes([byte]).decode(encoding, "replace") for byte in leading_bytes):
        return
    with open_bytes(path) as file:
        text = file.read(_COMPARED_BYTES).decode("utf-8", KEEP_BAD_BYTES)
    n_bad, n_good = _count_bad_and_good(text)
    if n_good > n_bad:
        raise FileEncodingError(
            f"{path} is UTF-8, and {n_good:,} of its characters would become several others each as {encoding}.",
            "Leave --encoding out.",
        )


def _count_bad_and_good(text: str) -> tuple[int, int]:
    """How many bytes do not fit the encoding, and how many characters beyond ASCII do."""
    if text.isascii():
        return 0, 0
    n_bad = len(_BAD_BYTE.findall(text))
    return n_bad, len(_BEYOND_ASCII.findall(text)) - n_bad


def _first_bad_byte(path: Path, encoding: str) -> tuple[int, int]:
    """Offset in the file, from 0, and line, from 1."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)  # knows \r\n also where two chunks part it
    position, line = 0, 1
    with open_bytes(path) as file:
        while True:
            chunk = file.read(1 << 16)
            position += len(chunk)
            try:
                line += newlines.decode(decoder.decode(chunk, final=not chunk)).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, "ignore")
                line += newlines.decode(before, final=True).count("\n")
                return position - len(error.object) + error.start, line
            if not chunk:
                return position, line


def _keep_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(KEEP_BAD_BYTES, _keep_bad_bytes)
