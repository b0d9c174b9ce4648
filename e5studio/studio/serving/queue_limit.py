"""Bounds what waits in Gradio's own queue, by count and by bytes, and says so in a sentence of ours.

Gradio keeps the body of each event that waits or is worked on, and to a full queue it answers with what its page turns
into words of its own. Who waits for a model waits in a line of ours besides (`e5studio.studio.serving.waiting_queue`).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Protocol

from e5studio.studio.serving.request_guard import MAX_BODY_BYTES, App, Message, Receive, Scope, Send, announced_length

_MAX_WAITING = 256
_MAX_BYTES = 64_000_000  # as text in memory four times as much
_LARGE_BYTES = 50_000  # smaller bodies are not counted: 256 of them are nothing
_EVENT_ROUTES = ("/gradio_api/queue/join", "/gradio_api/call/")
_LATER = "Try again in a few minutes."
_TOO_MANY_REQUESTS = 429  # to 503 the page would say what Gradio thinks of it


class EventQueue(Protocol):
    """The part of Gradio that keeps events."""

    @property
    def n_waiting(self) -> int:
        """How many wait."""

    @property
    def known(self) -> Collection[str]:
        """Ids of all that wait or are worked on."""


class QueueLimitMiddleware:
    """ASGI middleware in front of what adds events.

    Args:
        app: What is bounded.
        queue: Where the events wait.
        max_waiting: How many may.
        max_bytes: Of the large bodies of all that wait or are worked on.
    """

    def __init__(
        self, app: App, queue: EventQueue, max_waiting: int = _MAX_WAITING, max_bytes: int = _MAX_BYTES
    ) -> None:
        self._app = app
        self._queue = queue
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._large: dict[str, int] = {}  # event -> bytes
        self._arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an event on, or answer 429."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _adds_event(scope["path"]):
            return await self._app(scope, receive, send)
        n_waiting = self._queue.n_waiting
        if n_waiting >= self._max_waiting:
            return await _refuse(
                send, f"The Studio is full: {n_waiting} others came before. Try again in a few minutes."
            )
        n_bytes = _announced(scope)
        if n_bytes <= _LARGE_BYTES:
            return await self._app(scope, receive, send)
        self._large = {event: size for event, size in self._large.items() if event in self._queue.known}
        if sum(self._large.values()) + self._arriving + n_bytes > self._max_bytes:
            return await _refuse(send, "The Studio has its hands full with long texts. Try again in a minute.")
        await self._pass_on(scope, receive, send, n_bytes)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, n_bytes: int) -> None:
        async def heard(message: Message) -> None:
            event = _event_in(message.get("body", b""))
            if event is not None:
                self._large[event] = n_bytes
            await send(message)

        self._arriving += n_bytes
        try:
            await self._app(scope, receive, heard)
        finally:
            self._arriving -= n_bytes


class GradioQueue:
    """The queue of a Blocks.

    Args:
        demo: The Blocks, launched or about to be.
    """

    def __init__(self, demo: Any) -> None:
        self._demo = demo

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return len(self._demo._queue)

    @property
    def known(self) -> Collection[str]:
        """Ids of all that wait or are worked on."""
        events: dict[str, Any] = self._demo._queue.event_ids_to_events
        return events.keys()


def _adds_event(path: str) -> bool:
    return any(route in path for route in _EVENT_ROUTES)


def _announced(scope: Scope) -> int:
    """Bytes of the body; of one that comes in pieces the most that the guard lets through."""
    return announced_length(scope) or MAX_BODY_BYTES


def _event_in(body: bytes) -> str | None:
    """The event that an answer names."""
    if b"event_id" not in body[:200]:
        return None
    try:
        event = json.loads(body).get("event_id")
    except (ValueError, AttributeError):
        return None
    return event if isinstance(event, str) else None


async def _refuse(send: Send, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": _TOO_MANY_REQUESTS, "headers": headers})
    await send({"type": "http.response.body", "body": body})
