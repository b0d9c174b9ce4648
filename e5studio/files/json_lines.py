"""The objects of a JSONL file, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e5studio.files.decoding import decoded


def json_objects(
    path: Path, encoding: str, *, max_chars: int | None = None
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Each line's number, from 1, and its object, or a sentence if there is none; blank lines are skipped.

    Args:
        path: The file.
        encoding: From `text_encoding`.
        max_chars: A longer line is not parsed, because its object may take a hundred times its memory; None: no limit.

    Raises:
        FileEncodingError: Some byte is invalid in this encoding.
    """
    with decoded(path, encoding, newline=None) as file:
        for line, content in enumerate(file, 1):
            if content.strip():
                try:
                    yield line, _json_object(content, max_chars)
                except ValueError as error:
                    yield line, f"line {line} is {error}"


def _json_object(content: str, max_chars: int | None) -> dict[str, Any]:
    if max_chars is not None and len(content) > max_chars:
        raise ValueError(f"too long ({len(content):,} characters; at most {max_chars:,} are read of a line)")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"not an object but {type(record).__name__}")
    return record
