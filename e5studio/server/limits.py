"""What a request may cost, checked before it costs that: its key, its number, its bytes, its time, its shape."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive

from e5studio.server.request_errors import RequestError

_GRACE_SECONDS = 20.0
_MIN_BYTES_PER_SECOND = 10_000
_SECONDS_TO_RETRY = 1.0
_KEY_HEADERS = ("x-api-key", "api-key")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class DisconnectedError(Exception):
    """The client went away before its answer was ready."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what requests may cost.

    Attributes:
        max_body_bytes: Of one request.
        max_bytes_in_flight: Of the bodies of all requests at a time.
        max_concurrent: Requests at a time.
        max_values: Values in a body: texts, numbers, names.
    """

    max_body_bytes: int = 8_000_000
    max_bytes_in_flight: int = 256_000_000
    max_concurrent: int = 512
    max_values: int = 400_000


class Gate:
    """Lets requests in, as many as the limits allow, with a key if there are keys.

    Args:
        limits: The bounds.
        keys: Any of which opens; without keys all requests come in.
    """

    def __init__(self, limits: Limits, keys: Sequence[str] = ()) -> None:
        self.limits = limits
        self._keys = [key.encode() for key in keys]
        self.is_draining = False
        self.n_requests = 0
        self._n_bytes = 0

    @property
    def needs_key(self) -> bool:
        """Whether requests need a key."""
        return bool(self._keys)

    def check_key(self, headers: Headers) -> None:
        """Refuse a request without a key.

        Raises:
            RequestError: Its key is missing or wrong.
        """
        if not self.needs_key:
            return
        given = _given_key(headers)
        # Each key is compared, and each comparison takes as long as any, so that the time tells nothing.
        if not any([hmac.compare_digest(given, key) for key in self._keys]):
            raise RequestError("unauthorized", "The API key is missing or wrong. Send: Authorization: Bearer KEY.")

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request while it lasts.

        Raises:
            RequestError: There are too many, or the server is ending.
        """
        if self.is_draining:
            raise RequestError("unavailable", "The server is ending. Try again.", retry_after=_SECONDS_TO_RETRY)
        if self.n_requests >= self.limits.max_concurrent:
            raise RequestError(
                "overloaded",
                f"The server works on {self.n_requests} requests and takes no more at a time. Try again later.",
                retry_after=_SECONDS_TO_RETRY,
            )
        self.n_requests += 1
        try:
            yield
        finally:
            self.n_requests -= 1

    @contextmanager
    def room_for(self, n_bytes: int) -> Iterator[None]:
        """Reserve memory for a body.

        Raises:
            RequestError: There is none now.
        """
        if self._n_bytes + n_bytes > self.limits.max_bytes_in_flight:
            raise RequestError(
                "overloaded", "The server reads too many large requests now. Try again.", retry_after=_SECONDS_TO_RETRY
            )
        self._n_bytes += n_bytes
        try:
            yield
        finally:
            self._n_bytes -= n_bytes


async def read_body(headers: Headers, receive: Receive, gate: Gate) -> dict[str, Any]:
    """The body of a request as an object.

    Raises:
        RequestError: It is too large, comes too slowly, or is no JSON object of a reasonable shape.
        DisconnectedError: The client went away.
    """
    most = gate.limits.max_body_bytes
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    with gate.room_for(int(announced) if announced.isdecimal() else most):
        content = await _read(receive, most)
        return parsed(content, gate.limits.max_values)


async def _read(receive: Receive, most: int) -> bytes:
    loop = asyncio.get_running_loop()
    begin, n_bytes = loop.time(), 0
    pieces: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout_at(begin + _GRACE_SECONDS + n_bytes / _MIN_BYTES_PER_SECOND):
                message = await receive()
        except TimeoutError:
            raise RequestError("too_slow", "The request took too long to arrive. Try again.") from None
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        piece: bytes = message.get("body", b"")
        n_bytes += len(piece)
        if n_bytes > most:
            raise _too_large(most)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces) if len(pieces) > 1 else piece


def parsed(content: bytes, max_values: int) -> dict[str, Any]:
    """The object in a body.

    A lone surrogate in a text, which strict parsers refuse, is kept: the encoder replaces it and says so.

    Raises:
        RequestError: It is no JSON object in UTF-8, or has too many values.
    """
    if _n_values(content) > max_values:
        raise RequestError("too_large", f"The body has too many values; {max_values:,} are taken at once.")
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        body = _with_surrogates(content)
        if body is None:
            raise RequestError(
                "invalid", f"The body is not valid JSON in UTF-8 (near character {error.pos})."
            ) from None
    if not isinstance(body, dict):
        raise RequestError("invalid", "The body must be a JSON object.")
    return body


def _with_surrogates(content: bytes) -> Any:
    """What Python's own parser makes of a body with halves of characters; None for any other body."""
    if not _SURROGATE.search(content):
        return None
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _n_values(content: bytes) -> int:
    """At most how many values a body has; commas and brackets inside texts count only if that seems many."""
    most = content.count(b",") + content.count(b"[") + content.count(b"{")
    if most < 10_000:
        return most
    # Without escapes every quotation mark begins or ends a text.
    outside = b"".join(content.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{")


def _too_large(most: int) -> RequestError:
    return RequestError(
        "too_large", f"The body has more than {most:,} bytes. Send the texts in several requests, or fewer at once."
    )


def _given_key(headers: Headers) -> bytes:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip().encode("latin-1")  # the bytes that came
    return next((value.encode("latin-1") for name in _KEY_HEADERS if (value := headers.get(name))), b"")
