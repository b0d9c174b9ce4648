"""Forgets visitors some minutes after they close the page: Gradio's state and what other rooms store for them.

Gradio itself keeps the values that a page shows and its States until a hundred other sessions have come. Corpora and
downloads (`corpus.visitor_store`, `serving.downloads`) are deleted with the session.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from e5studio.studio.serving.middleware import HttpMiddleware

_log = logging.getLogger(__name__)

CLOSED_SECONDS = 600
"""How long a closed page is remembered: a phone that wakes up again finds its results."""

PRESENT_PATH = "/e5studio/present/"
"""Where an open page reports from time to time that it is open, followed by its session (`serving.presence`)."""

RUNNING_SESSION: ContextVar[str | None] = ContextVar("e5studio_session", default=None)
"""The session whose event runs here; `gradio_patches.LeanBlocks` sets it."""

_START = datetime.now() - timedelta(seconds=time.monotonic())
_SWEEP_SECONDS = 60
_MAX_ABSENT = 200  # sessions without an open page; each holds half a megabyte
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]{1,100})$")


def steady_now() -> datetime:
    """The time by a clock that is never set: as the wall clock, until that is set back or forth."""
    return _START + timedelta(seconds=time.monotonic())


def session_now() -> str | None:
    """The session whose event runs here; None outside of events."""
    return RUNNING_SESSION.get()


class StoredSessions(Protocol):
    """The sessions that the server stores, as `gradio_patches.GradioSessions` shows them."""

    @property
    def last_used(self) -> Mapping[str, datetime]:
        """When each session was last used, by `steady_now`."""

    def forget(self, session: str) -> bool:
        """Delete everything of a session; False if it is still at work."""


@dataclass
class OpenPages:
    """Which pages are open, and since when the others are closed.

    Args:
        now: The clock.
    """

    now: Callable[[], datetime] = steady_now
    _open: Counter[str] = field(default_factory=Counter)
    _closed: dict[str, datetime] = field(default_factory=dict)

    def open(self, session: str) -> None:
        """Note a new connection of a page."""
        self._open[session] += 1

    def close(self, session: str) -> None:
        """Note the end of one connection of a page."""
        self._open[session] -= 1
        if not self._open[session]:
            del self._open[session]
            self._closed[session] = self.now()

    def note(self, session: str) -> None:
        """Note that a page is open whose connection may have broken without its knowledge."""
        if session not in self._open:
            self._closed[session] = self.now()

    def forget_absent(self, stored: StoredSessions, seconds: float = CLOSED_SECONDS) -> None:
        """Forget pages that have been closed for long, and programs as long after their last call."""
        begin = self.now() - timedelta(seconds=seconds)
        for session, since in self._absent(stored):
            if since < begin:
                self._forget(stored, session)

    def make_room(self, stored: StoredSessions, most: int = _MAX_ABSENT) -> None:
        """Where too many sessions have no open page, forget those that have been closed for longest."""
        if len(stored.last_used) - len(self._open) <= most:
            return
        absent = sorted(self._absent(stored), key=lambda item: item[1])
        for session, _ in absent[: len(absent) - most]:
            self._forget(stored, session)

    def _absent(self, stored: StoredSessions) -> list[tuple[str, datetime]]:
        """Sessions without an open page, and since when."""
        since = dict(stored.last_used)
        for session, closed in self._closed.items():  # Gradio may have forgotten it already, to make room
            since[session] = max(closed, since.get(session, closed))
        return [(session, moment) for session, moment in since.items() if session not in self._open]

    def _forget(self, stored: StoredSessions, session: str) -> None:
        try:
            is_forgotten = stored.forget(session)
        except Exception:  # the other sessions must still be forgotten
            _log.exception("A session could not be forgotten")
            return
        if is_forgotten:
            self._closed.pop(session, None)


class SessionMiddleware(HttpMiddleware):
    """Takes a page as open while its heartbeat connection lasts, and forgets the others.

    Args:
        app: The application behind it.
        stored: The sessions that the server stores.
        pages: The pages of this server.
        sweep_seconds: Time between two searches for sessions to forget.
        on_sweep: Called at each search, in a thread.
    """

    def __init__(
        self,
        app: ASGIApp,
        stored: StoredSessions,
        pages: OpenPages | None = None,
        sweep_seconds: float = _SWEEP_SECONDS,
        on_sweep: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(app)
        self._stored = stored
        self._pages = pages or OpenPages()
        self._sweep_seconds = sweep_seconds
        self._on_sweep = on_sweep
        self._is_sweeping = False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every request on, but for the page's report that it is open."""
        if not self._is_sweeping:
            self._is_sweeping = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._sweep, loop)
        if scope["path"].startswith(PRESENT_PATH):
            return await self._note(scope["path"].removeprefix(PRESENT_PATH))(scope, receive, send)
        self._pages.make_room(self._stored)
        heartbeat = _HEARTBEAT.search(scope["path"])
        if heartbeat is None:
            return await self._app(scope, receive, send)
        self._pages.open(heartbeat[1])
        try:
            await self._app(scope, receive, send)
        finally:
            self._pages.close(heartbeat[1])

    def _note(self, session: str) -> Response:
        if session not in self._stored.last_used:  # Gradio stores a page's with its first event, which may still run
            return Response(status_code=202)
        self._pages.note(session)
        return Response(status_code=204)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self._sweep_seconds, self._sweep, loop)  # first, so that no error can end the sweeping
        self._pages.forget_absent(self._stored)
        loop.run_in_executor(None, self._sweep_others)

    def _sweep_others(self) -> None:
        try:
            self._on_sweep()
        except Exception:  # the next search may succeed
            _log.exception("A search for what is to be deleted failed")
