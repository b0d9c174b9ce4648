"""One line of a JSONL file -> the object on it."""

from __future__ import annotations

import json
from typing import Any


def json_object(content: str, max_chars: int | None = None) -> dict[str, Any]:
    """The object that a line holds.

    Args:
        content: The line.
        max_chars: A longer one is not parsed, for its object may take a hundred times its memory; None takes any.

    Raises:
        ValueError: It holds something else; the message says what, as the end of "line 7 is ...".
    """
    if max_chars is not None and len(content) > max_chars:
        raise ValueError(f"too long ({len(content):,} characters; at most {max_chars:,} are read of a line)")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"not an object but {type(record).__name__}")
    return record
