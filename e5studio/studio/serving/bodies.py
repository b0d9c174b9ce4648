"""Reads the body of a request within bounds of size, time and shape, before anything behind it sees a byte.

A body costs more than its bytes: while it does not come it holds what was reserved for it, a million empty lists in it
stop the event loop for seconds, and a name in it stays for as long as its session. Uploads are read as they come, but
within the same time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from starlette.types import Message, Receive

MAX_BODY_BYTES = 8_000_000
"""Most bytes of a body that is no upload: two text boxes of 400,000 characters, most of them written as \\u0000."""

MAX_VALUES = 20_000
"""Most values in a body. The page sends some dozens, a program one for each of its texts."""

MAX_NAME_CHARACTERS = 200
"""Of a session, an event, a function, an upload: Gradio's have 36 at most."""

_MAX_DEPTH = 64
_MAX_BYTES_BETWEEN_STRINGS = 32 * MAX_VALUES  # numbers and spaces
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_FREE = ("data", "event_data")  # all else in an event's body is a name or a number

GRACE_SECONDS = 20.0
_MIN_BYTES_PER_SECOND = 4_000  # a phone at the edge of its network sends as much


class BodyError(Exception):
    """A body that is refused, with the status and the message of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DisconnectedError(Exception):
    """The client went away before its body was complete."""


class Arrival:
    """Receives the messages of one request, whose body must keep coming and be no longer than a limit.

    Args:
        receive: The server's.
        max_bytes: Most bytes of the body.
        take: Called with the number of bytes of each message; False if there is no room for them.
        full: The refusal where there is no room.
        grace_seconds: Time for a body of no bytes.
    """

    def __init__(
        self,
        receive: Receive,
        max_bytes: int,
        take: Callable[[int], bool],
        full: BodyError,
        grace_seconds: float | None = None,
    ) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._take = take
        self._full = full
        self._grace_seconds = GRACE_SECONDS if grace_seconds is None else grace_seconds
        self._begin: float | None = None
        self._is_complete = False
        self.n_bytes = 0
        """Bytes that have come and were taken."""

    async def __call__(self) -> Message:
        """The next message.

        Raises:
            BodyError: The body is late or too long, or there is no room for it.
        """
        if self._is_complete:  # what still comes is the end of the connection, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout(self._seconds_left()):
                message = await self._receive()
        except TimeoutError:
            raise BodyError(408, "The request took too long to arrive. Try again.") from None
        n_bytes = len(message.get("body", b""))
        if self.n_bytes + n_bytes > self._max_bytes:
            raise too_large()
        if n_bytes and not self._take(n_bytes):
            raise self._full
        self.n_bytes += n_bytes
        self._is_complete = not message.get("more_body", False)
        return message

    def _seconds_left(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._begin is None:
            self._begin = now
        return self._begin + self._grace_seconds + self.n_bytes / _MIN_BYTES_PER_SECOND - now


async def read_whole(arrival: Arrival) -> bytes:
    """A body to its end.

    Raises:
        BodyError: As `Arrival`.
        DisconnectedError: The client went away.
    """
    pieces = []
    while True:
        message = await arrival()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def too_large() -> BodyError:
    """The refusal of a body with too many bytes."""
    return BodyError(413, "The request is too large.")


def checked_names(body: bytes, has_names: bool) -> Mapping[str, object]:
    """What a body's names and numbers are, once it is known to be small enough to be read.

    Args:
        body: JSON, or something that Gradio refuses.
        has_names: Whether all but the data of an event is a name or a number; else nothing is looked at.

    Raises:
        BodyError: It has too many values, or a name that is none.
    """
    _check_shape(body)
    if not has_names:
        return {}
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return {}  # Gradio says so
    if not isinstance(values, dict):
        return {}
    names = {name: value for name, value in values.items() if name not in _FREE}
    if not all(map(_is_short, [*names, *names.values()])):
        raise BodyError(400, f"A name in the request is no text of at most {MAX_NAME_CHARACTERS} characters.")
    return names


def _check_shape(body: bytes) -> None:
    """Count what stands between the strings, without reading the strings.

    Raises:
        BodyError: There are too many values, or they are too deep in each other.
    """
    if b"\0" in body:  # no JSON in UTF-8 has one; in UTF-16 nothing could be counted
        raise BodyError(400, "The request is not JSON in UTF-8.")
    # Without escapes, every quotation mark begins or ends a string.
    parts = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', 4 * MAX_VALUES)
    between = b"".join(parts[::2])
    n_values = sum(map(between.count, (b",", b"[", b"{", b":")))
    if max(n_values, len(parts) // 2) > 2 * MAX_VALUES or len(between) > _MAX_BYTES_BETWEEN_STRINGS:
        raise BodyError(413, f"The request has too many values; {MAX_VALUES:,} are taken at once.")
    depth = 0
    for bracket in between.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > _MAX_DEPTH:
            raise BodyError(400, "The request's values are too deep in each other.")


def _is_short(value: object) -> bool:
    return isinstance(value, int | float | None) or (isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS)
