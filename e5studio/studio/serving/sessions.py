"""Forgets a visitor some minutes after their page is closed: what Gradio keeps of it, and what others keep for it.

Gradio keeps what a page shows and what its States hold under the page's session, until a hundred others have come.
Corpora and downloads (`corpus.visitor_store`, `serving.downloads`) go with the session, too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from e5studio.studio.serving.request_guard import App, Receive, Scope, Send

_log = logging.getLogger(__name__)

CLOSED_SECONDS = 600
"""How long a closed page is remembered: a phone that wakes up again finds its results."""

PRESENT_PATH = "/e5studio/present/"
"""Where an open page says now and then that it is open, followed by its session (`serving.presence`)."""

_SWEEP_SECONDS = 60
_MAX_ABSENT = 200  # sessions without an open page; each holds half a megabyte
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]{1,100})$")


class KeptSessions(Protocol):
    """The part of Gradio that keeps sessions."""

    @property
    def time_last_used(self) -> Mapping[str, datetime]:
        """When each was used last."""

    def forget(self, session: str) -> bool:
        """Keep nothing of a session any more; whether that was possible now."""


@dataclass
class OpenPages:
    """Which pages are open now, and since when the others are closed.

    Args:
        now: The time.
    """

    now: Callable[[], datetime] = datetime.now
    _open: Counter[str] = field(default_factory=Counter)
    _closed: dict[str, datetime] = field(default_factory=dict)

    def come(self, session: str) -> None:
        """A page is open, for the first time or again."""
        self._open[session] += 1

    def go(self, session: str) -> None:
        """One connection less of a page."""
        self._open[session] -= 1
        if not self._open[session]:
            del self._open[session]
            self._closed[session] = self.now()

    def note(self, session: str) -> None:
        """A page says that it is open; its connection may have broken off without its knowing."""
        if session not in self._open:
            self._closed[session] = self.now()

    def forget_absent(self, kept: KeptSessions, seconds: float = CLOSED_SECONDS) -> None:
        """Forget pages that have been closed for long; and programs, which have none, as long after their last call."""
        begin = self.now() - timedelta(seconds=seconds)
        for session, since in self._absent(kept):
            if since < begin:
                self._forget(kept, session)

    def make_room(self, kept: KeptSessions, most: int = _MAX_ABSENT) -> None:
        """Forget those closed for longest, and programs, where there are too many: no open page makes way for them."""
        if len(kept.time_last_used) - len(self._open) <= most:
            return
        absent = sorted(self._absent(kept), key=lambda known: known[1])
        for session, _ in absent[: len(absent) - most]:
            self._forget(kept, session)

    def _absent(self, kept: KeptSessions) -> list[tuple[str, datetime]]:
        """Sessions without an open page, and since when."""
        known = dict(kept.time_last_used)
        for session, closed in self._closed.items():  # Gradio may have forgotten it already, to make room
            known[session] = max(closed, known.get(session, closed))
        return [(session, since) for session, since in known.items() if session not in self._open]

    def _forget(self, kept: KeptSessions, session: str) -> None:
        try:
            is_forgotten = kept.forget(session)
        except Exception:  # trouble with one must not have the others kept
            _log.exception("A session could not be forgotten")
            return
        if is_forgotten:
            self._closed.pop(session, None)


class SessionMiddleware:
    """ASGI middleware that knows a page to be open while its heartbeat is.

    Args:
        app: What is watched.
        kept: What is forgotten.
        pages: Of this server.
        sweep_seconds: How often is looked for what is to be forgotten.
        on_sweep: Called then, for what else is to go.
    """

    def __init__(
        self,
        app: App,
        kept: KeptSessions,
        pages: OpenPages | None = None,
        sweep_seconds: float = _SWEEP_SECONDS,
        on_sweep: Callable[[], None] | None = None,
    ) -> None:
        self._app = app
        self._kept = kept
        self._pages = pages or OpenPages()
        self._sweep_seconds = sweep_seconds
        self._on_sweep = on_sweep
        self._is_sweeping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if not self._is_sweeping:
            self._is_sweeping = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._sweep, loop)
        if scope["path"].startswith(PRESENT_PATH):
            return await self._note(scope["path"].removeprefix(PRESENT_PATH), send)
        self._pages.make_room(self._kept)
        heartbeat = _HEARTBEAT.search(scope["path"])
        if heartbeat is None:
            return await self._app(scope, receive, send)
        session = heartbeat[1]
        self._pages.come(session)
        try:
            await self._app(scope, receive, send)
        finally:
            self._pages.go(session)

    async def _note(self, session: str, send: Send) -> None:
        is_known = session in self._kept.time_last_used
        if is_known:
            self._pages.note(session)
        await send({"type": "http.response.start", "status": 204 if is_known else 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self._sweep_seconds, self._sweep, loop)  # first, so that nothing can keep it from going on
        self._pages.forget_absent(self._kept)
        if self._on_sweep is not None:
            self._on_sweep()


def session_now() -> str | None:
    """The session for which Gradio runs this function's caller; None outside of its events."""
    gradio = sys.modules.get("gradio.context")  # where nobody has loaded Gradio, it runs nothing
    request = gradio.LocalContext.request.get(None) if gradio else None
    return None if request is None else request.session_hash


class GradioSessions:
    """What Gradio keeps of the sessions of a Blocks.

    Args:
        demo: The Blocks, launched or about to be.
        on_forget: Called with each session that is forgotten, for what others keep of it.
    """

    def __init__(self, demo: Any, on_forget: Sequence[Callable[[str], None]] = ()) -> None:
        self._demo = demo
        self._on_forget = on_forget

    @property
    def time_last_used(self) -> Mapping[str, datetime]:
        """When each session was used last."""
        used: Mapping[str, datetime] = self._demo.state_holder.time_last_used
        return used

    def forget(self, session: str) -> bool:
        """Drop a session's States, what its components show, and messages that nobody fetched; not while it works."""
        holder, queue = self._demo.state_holder, self._demo._queue
        if any(event.session_hash == session for event in list(queue.event_ids_to_events.values())):
            return False
        holder.session_data.pop(session, None)
        holder.time_last_used.pop(session, None)
        queue.pending_messages_per_session.pop(session, None)
        queue.pending_event_ids_session.pop(session, None)
        for forget in self._on_forget:
            forget(session)
        return True
