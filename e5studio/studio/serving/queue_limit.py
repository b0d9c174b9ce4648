"""Limits Gradio's event queue by length and size, over all and for each visitor, with our own refusal message.

Gradio keeps the body of every event that waits or runs, and its page replaces the server's answer to a full queue with
a message of its own. Visitors who wait for a model wait in `e5studio.studio.serving.waiting_queue` as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from e5studio.studio.engine.queues import MAX_EVENTS_WAITING
from e5studio.studio.serving.middleware import BODY_BYTES, VISITOR, HttpMiddleware
from e5studio.studio.serving.visitors import Shares

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


@dataclass(frozen=True)
class _Event:
    """Whose an event is, and the bytes of its body that are counted."""

    visitor: str
    n_bytes: int


class QueueLimitMiddleware(HttpMiddleware):
    """Refuses new events while the queue is full, or a visitor's share of it.

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
        self._events: dict[str, _Event] = {}
        self._counts = Shares(2 * max_waiting)  # as many may run
        self._bytes = Shares(max_bytes)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an event on, or answer 429."""
        if scope["method"] != "POST" or not any(route in scope["path"] for route in _EVENT_ROUTES):
            return await self._app(scope, receive, send)
        n_bytes = scope.get(BODY_BYTES, 0)
        event = _Event(scope.get(VISITOR, ""), n_bytes if n_bytes > _LARGE_BYTES else 0)
        self._forget_ended()
        refusal = self._take(event)
        if refusal:
            return await JSONResponse({"detail": refusal}, _TOO_MANY_REQUESTS)(scope, receive, send)
        await self._pass_on(scope, receive, send, event)

    def _take(self, event: _Event) -> str | None:
        """Count an event, or say why it is refused."""
        n_waiting, n_own = self._queue.n_waiting, self._counts.of(event.visitor)
        is_taken = n_waiting < self._max_waiting and self._counts.take(event.visitor, 1)
        if not is_taken and n_own:
            return f"{n_own} of your requests wait or run already. Try again when they are done."
        if not is_taken:
            return f"The Studio is full: {n_waiting} others came before. Try again in a few minutes."
        if event.n_bytes and not self._bytes.take(event.visitor, event.n_bytes):
            self._counts.add(event.visitor, -1)
            return "The Studio is busy with long texts. Try again in a minute."
        return None

    def _forget_ended(self) -> None:
        event_ids = self._queue.event_ids
        for event_id in [event_id for event_id in self._events if event_id not in event_ids]:
            self._give_back(self._events.pop(event_id))

    def _give_back(self, event: _Event) -> None:
        self._counts.add(event.visitor, -1)
        self._bytes.add(event.visitor, -event.n_bytes)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, event: _Event) -> None:
        is_queued = False

        async def send_and_note(message: Message) -> None:
            nonlocal is_queued
            event_id = _event_in(message.get("body", b""))
            if event_id is not None and not is_queued:
                is_queued = True
                self._events[event_id] = event
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            if not is_queued:
                self._give_back(event)


def _event_in(body: bytes) -> str | None:
    """The event id in a response."""
    if b"event_id" not in body[:200]:
        return None
    try:
        event = json.loads(body).get("event_id")
    except (ValueError, AttributeError):
        return None
    return event if isinstance(event, str) else None
