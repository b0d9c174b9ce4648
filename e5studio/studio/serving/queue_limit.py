"""Limits Gradio's event queue by length and size, with our own refusal message.

Gradio keeps the body of every event that waits or runs, and its page replaces the server's answer to a full queue with
a message of its own. Visitors who wait for a model wait in `e5studio.studio.serving.waiting_queue` as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Protocol

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from e5studio.studio.engine.queues import MAX_EVENTS_WAITING
from e5studio.studio.serving.middleware import HttpMiddleware, announced_length
from e5studio.studio.serving.request_guard import MAX_BODY_BYTES

_MAX_BYTES = 64_000_000  # four times as much in memory, as text
_LARGE_BYTES = 50_000  # smaller bodies are not counted: 256 of them are nothing
_EVENT_ROUTES = ("/gradio_api/queue/join", "/gradio_api/call/")
_TOO_MANY_REQUESTS = 429  # Gradio's page shows a message of its own for 503


class EventQueue(Protocol):
    """Gradio's event queue, as `gradio_patches.GradioQueue` shows it."""

    @property
    def n_waiting(self) -> int:
        """Number of events that wait."""

    @property
    def event_ids(self) -> Collection[str]:
        """Ids of all events that wait or run."""


class QueueLimitMiddleware(HttpMiddleware):
    """Refuses new events while the queue is full.

    Args:
        app: The application behind it.
        queue: The event queue.
        max_waiting: Most events that may wait.
        max_bytes: Most bytes of large bodies, over all events that wait or run.
    """

    def __init__(
        self, app: ASGIApp, queue: EventQueue, max_waiting: int = MAX_EVENTS_WAITING, max_bytes: int = _MAX_BYTES
    ) -> None:
        super().__init__(app)
        self._queue = queue
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._bytes_of_event: dict[str, int] = {}  # of large events only
        self._arriving_bytes = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an event on, or answer 429."""
        if scope["method"] != "POST" or not any(route in scope["path"] for route in _EVENT_ROUTES):
            return await self._app(scope, receive, send)
        n_bytes = announced_length(scope) or MAX_BODY_BYTES  # the guard ends a longer body
        refusal = self._refusal(n_bytes)
        if refusal:
            return await JSONResponse({"detail": refusal}, _TOO_MANY_REQUESTS)(scope, receive, send)
        if n_bytes <= _LARGE_BYTES:
            return await self._app(scope, receive, send)
        await self._pass_on(scope, receive, send, n_bytes)

    def _refusal(self, n_bytes: int) -> str | None:
        n_waiting = self._queue.n_waiting
        if n_waiting >= self._max_waiting:
            return f"The Studio is full: {n_waiting} others came before. Try again in a few minutes."
        if n_bytes <= _LARGE_BYTES:
            return None
        event_ids = self._queue.event_ids
        self._bytes_of_event = {event: size for event, size in self._bytes_of_event.items() if event in event_ids}
        if sum(self._bytes_of_event.values()) + self._arriving_bytes + n_bytes > self._max_bytes:
            return "The Studio is busy with long texts. Try again in a minute."
        return None

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, n_bytes: int) -> None:
        async def send_and_note(message: Message) -> None:
            event = _event_in(message.get("body", b""))
            if event is not None:
                self._bytes_of_event[event] = n_bytes
            await send(message)

        self._arriving_bytes += n_bytes
        try:
            await self._app(scope, receive, send_and_note)
        finally:
            self._arriving_bytes -= n_bytes


def _event_in(body: bytes) -> str | None:
    """The event id in a response."""
    if b"event_id" not in body[:200]:
        return None
    try:
        event = json.loads(body).get("event_id")
    except (ValueError, AttributeError):
        return None
    return event if isinstance(event, str) else None
