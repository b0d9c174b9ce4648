"""The objects of a JSONL file, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from e5studio.errors import FileFormatError
from e5studio.files.decoding import BYTE_ORDER_MARK, BadBytes, decoded_lines, has_bad_byte
from e5studio.tokenization import replace_surrogates

_ONE_A_LINE = "Write one object a line (in Python: json.dumps for each)."
_AROUND = f" \t\r\n{BYTE_ORDER_MARK}"  # a byte order mark inside a file is where another was joined to it


class _RepeatedNameError(ValueError):
    """An object names a field twice, so that it is unclear which value is meant."""


def json_objects(
    path: Path, encoding: str, *, max_chars: int | None = None, skip_bad_bytes: bool = False
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Each line's number, from 1, and its object, or a sentence if there is none; blank lines are skipped.

    Args:
        path: The file.
        encoding: From `text_encoding`.
        max_chars: A longer line is not parsed, because its object may take a hundred times its memory; None: no limit.
        skip_bad_bytes: Make a byte that is invalid in the encoding a problem of its line.

    Raises:
        FileEncodingError: Some byte is invalid in this encoding, unless such lines are skipped.
        FileFormatError: The file is one array, or one object over several lines.
    """
    _refuse_document(path, encoding, max_chars)
    bad_bytes = BadBytes(path, encoding)
    for line, content in enumerate(decoded_lines(path, encoding, skip_bad_bytes=skip_bad_bytes), 1):
        content = content.strip(_AROUND)
        if not content.strip():
            continue
        if problem := bad_bytes.problem(line, is_bad=skip_bad_bytes and has_bad_byte(content)):
            yield line, problem
            continue
        try:
            yield line, _json_object(content, max_chars)
        except ValueError as error:
            yield line, f"line {line} is {error}"
    bad_bytes.check()


def _refuse_document(path: Path, encoding: str, max_chars: int | None) -> None:
    """Refuse a file that is one JSON document; its first two lines show it."""
    with closing(decoded_lines(path, encoding, skip_bad_bytes=True)) as lines:
        filled = filter(None, (content.strip(_AROUND) for content in lines))
        first, second = next(filled, ""), next(filled, "")
    form = _form(first, max_chars)
    if first.startswith("[") and (first[1:].lstrip().startswith("{") or form == "cut"):
        raise FileFormatError(f"{path} is one JSON array. {_ONE_A_LINE}")
    if first.startswith("{") and form == "cut" and second and _form(second, max_chars) != "whole":
        raise FileFormatError(f"{path} is a JSON object over several lines. {_ONE_A_LINE}")


def _form(content: str, max_chars: int | None) -> Literal["whole", "cut", "broken"]:
    """Whether a line is JSON of its own, or ends where JSON goes on."""
    if max_chars is not None and len(content) > max_chars:
        return "broken"
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return "cut" if error.pos >= len(content) else "broken"
    except (ValueError, RecursionError):
        return "broken"
    return "whole" if content.startswith(("{", "[")) else "broken"


def _json_object(content: str, max_chars: int | None) -> dict[str, Any]:
    if max_chars is not None and len(content) > max_chars:
        raise ValueError(f"too long ({len(content):,} characters; at most {max_chars:,} are read of a line)")
    try:
        record = json.loads(content, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at its character {error.colno})") from error
    except _RepeatedNameError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"not an object but {type(record).__name__}")
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [replace_surrogates(name) for name, _ in pairs]
    record = dict(zip(names, (value for _, value in pairs), strict=True))
    if len(record) < len(pairs):
        twice = next(name for name in names if names.count(name) > 1)
        raise _RepeatedNameError(f"an object that names {twice!r} more than once")
    return record
