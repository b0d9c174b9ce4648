"""Bounds what a connection costs before there is a request that the application could refuse.

uvicorn waits for the end of a request's headers for ever, takes headers of any length, and opens connections until
the process has no descriptors left. Bodies are bounded in `serving.bodies`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from e5studio.studio.serving.visitors import Shares

MAX_HEADER_BYTES = 65_536
HEADER_SECONDS = 20
_DESCRIPTORS_LEFT = 128  # for models, uploads and downloads
_MOST_CONNECTIONS = 4_000


def connection_limit() -> int:
    """How many connections the process may hold, once its limit of open files is as high as it may be."""
    if sys.platform == "win32":
        return _MOST_CONNECTIONS
    import resource

    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _DESCRIPTORS_LEFT
    if 0 <= limit < wanted:  # -1 is no limit
        limit = wanted if highest < 0 else min(wanted, highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, highest))
    return _MOST_CONNECTIONS if limit < 0 else min(_MOST_CONNECTIONS, max(limit - _DESCRIPTORS_LEFT, limit // 2))


class ConnectionBounds(asyncio.Protocol):
    """In front of a connection of uvicorn's: closes it where headers are late or long, or its client has too many.

    A server sets the class attribute `connections_of` once, for all its connections.
    """

    connections_of: Shares = Shares(2 * _MOST_CONNECTIONS)
    header_seconds: float = HEADER_SECONDS
    transport: Any
    cycle: Any

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or close it."""
        super().connection_made(transport)
        self._n_header_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._is_taken = self.connections_of.take(self._peer, 1)
        if not self._is_taken:
            transport.close()
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read data, and count what belongs to headers."""
        before = self.cycle
        is_body = before is not None and before.more_body
        super().data_received(data)
        if self.cycle is not before:  # the headers are complete
            self._n_header_bytes = 0
            self._stop_clock()
        elif not is_body:
            self._n_header_bytes += len(data)
            self._expect_headers()
        elif self.cycle.response_complete:  # the rest of a body that was refused
            self._expect_headers()
        if self._n_header_bytes > MAX_HEADER_BYTES:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_clock()
        if self._is_taken:
            self.connections_of.add(self._peer, -1)
            self._is_taken = False
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self.header_seconds, self._close_if_late)

    def _close_if_late(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        elif self._n_header_bytes:  # of a next request, while this one is being answered
            self._expect_headers()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedConnection(ConnectionBounds, AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection of uvicorn's usual kind, within the bounds."""
