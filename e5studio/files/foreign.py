"""Says what a file is that is no text, or no table, in spite of its name."""

from __future__ import annotations

import re
from pathlib import Path

from e5studio.errors import FileFormatError

_SAVE_AS_TEXT = "Save it as CSV, JSONL or plain text."
_MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x93NUMPY": "a numpy array",
    b"%PDF": "a PDF",
    b"{\\rtf": "an RTF document",
    b"SQLite format 3": "an SQLite database",
}
_WEB_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|head|body|table)\b", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\b", re.IGNORECASE)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_UTF8_MARK = b"\xef\xbb\xbf"


def refuse_foreign(path: Path, start: bytes) -> None:
    """Refuse a file by its first bytes.

    Raises:
        FileFormatError: It is no text file, or a web page.
    """
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            raise FileFormatError(f"{path} is {name}, in spite of its name. {_SAVE_AS_TEXT}")
    if start.startswith(_LFS_POINTER):
        raise FileFormatError(f"{path} is a git-lfs pointer, not the file itself. Fetch it with: git lfs pull")
    # Of UTF-16, the letters are enough.
    letters = start.removeprefix(_UTF8_MARK).removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    if _WEB_PAGE.match(letters):
        raise FileFormatError(
            f"{path} is a web page (HTML), in spite of its name, perhaps a page of login or of an error. Download the "
            f"file itself, or save the page's table as CSV."
        )
    if _XML.match(letters):
        raise FileFormatError(f"{path} is XML, in spite of its name. {_SAVE_AS_TEXT}")


def refuse_other_text(path: Path, first_line: str) -> None:
    """Refuse a table by its first line.

    Raises:
        FileFormatError: It is JSON, mark-up, or a table of Markdown.
    """
    begin = first_line.strip()
    if re.match(r'\[?\s*\{\s*"|\[$|\{$', begin):
        raise FileFormatError(
            f"{path} is JSON, in spite of its name. Write one object a line, and name the file .jsonl."
        )
    if re.match(r"<[!?/]?[a-zA-Z-]", begin):
        raise FileFormatError(f"{path} is HTML or XML, in spite of its name. {_SAVE_AS_TEXT}")
    if begin.startswith("|") and begin.endswith("|") and begin.count("|") > 2:
        raise FileFormatError(f"{path} is a table of Markdown, in spite of its name. {_SAVE_AS_TEXT}")
