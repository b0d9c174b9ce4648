"""Runs the server until it is asked to end; then it answers what it has admitted, and exits 0."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from e5studio.server.app import Server

_BACKLOG = 2_048  # connections that may wait to be accepted
_KEEP_ALIVE_SECONDS = 75  # longer than clients keep idle connections, so that they don't write into a closed one
_log = logging.getLogger("e5studio.server")


def serve(listener: socket.socket, server: Server, *, drain_seconds: int) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once.

    Args:
        listener: From `listening.bind`.
        server: What to serve.
        drain_seconds: Most time for the requests that were admitted.
    """
    config = uvicorn.Config(
        server.app,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
    )
    _Uvicorn(config, server).run(sockets=[listener])


def log_to_stderr(*, as_json: bool) -> None:
    """Log what happens, one line each; requests as JSON or as words."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("e5studio", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


class _Uvicorn(uvicorn.Server):
    """Ends by itself on a signal, where uvicorn would raise the signal again after the last answer."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._e5_server = server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._e5_server.drain()
        self.force_exit = self.should_exit
        self.should_exit = True
        _log.info("%s: ending when %d requests are answered", signal.Signals(sig).name, self._e5_server.gate.n_requests)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import orjson

        line = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()
