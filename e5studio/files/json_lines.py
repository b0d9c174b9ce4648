"""One line of a JSONL file -> the object on it."""

from __future__ import annotations

import json
from typing import Any


def json_object(content: str) -> dict[str, Any]:
    """The object that a line holds.

    Raises:
        ValueError: It holds something else; the message says what, as the end of "line 7 is ...".
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"not an object but {type(record).__name__}")
    return record
