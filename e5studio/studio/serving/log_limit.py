"""Bounds what one request can write into the log: a forged value may have megabytes, and errors repeat it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

_MAX_CHARACTERS = 2_000


def limit_log_lines() -> None:
    """Shorten long messages and errors in all log records of this process; calling it again changes nothing."""
    make = logging.getLogRecordFactory()
    if getattr(make, "is_limited", False):
        return

    def make_short(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        message = record.getMessage()
        if len(message) > _MAX_CHARACTERS:
            record.msg, record.args = shortened(message), ()
        if record.exc_info and record.exc_info[1] is not None:
            shorten_error(record.exc_info[1])
        return record

    make_short.is_limited = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_short)


def shorten_error(error: BaseException) -> None:
    """Shorten the texts of an error and of those that led to it, wherever they will be printed."""
    for each in _chain(error):
        each.args = tuple(shortened(part) if isinstance(part, str) else part for part in each.args)
        message = getattr(each, "message", None)  # of Gradio's
        if isinstance(message, str) and len(message) > _MAX_CHARACTERS:
            each.message = shortened(message)  # type: ignore[attr-defined]


def shortened(text: str) -> str:
    """A text as it is, or its beginning and its length."""
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]} ... ({len(text):,} characters)"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            rest += [each.__cause__, each.__context__]
