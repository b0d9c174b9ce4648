"""Loads the models and runs the server until it is asked to end; then it answers what it has admitted, and exits 0."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

import uvicorn

from e5studio.errors import E5StudioError, PromptError
from e5studio.model_pool import Lease, get_model_pool
from e5studio.models import PROMPT_KINDS
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.server.app import Server
from e5studio.server.served_models import ServedModel, ServedModels

_BACKLOG = 2_048
_KEEP_ALIVE_SECONDS = 75  # longer than clients keep idle connections, so that they don't write into a closed one
_log = logging.getLogger("e5studio.server")


class AddressError(E5StudioError, OSError):
    """The server cannot listen there."""


def read_model(name: str, options: ModelOptions) -> ModelOptions:
    """The options of a model named as NAME or NAME=KIND.

    Raises:
        PromptError: The kind is unknown.
    """
    name, separator, kind = name.rpartition("=")
    if not separator:
        name, kind = kind, ""
    if separator and kind not in PROMPT_KINDS:
        raise PromptError(f"{kind!r} is no prompt kind.", f"Write --model {name}=query_passage, =instruct or =none.")
    return ModelOptions(
        name,
        prompt_kind=kind or options.prompt_kind,  # type: ignore[arg-type]
        backend=options.backend,
        device=options.device,
        dtype=options.dtype,
        revision=options.revision,
        local_files_only=options.local_files_only,
    )


def load_models(models: Sequence[ModelOptions], encode: EncodeOptions) -> tuple[ServedModels, list[Lease]]:
    """Load models; their leases keep them in memory.

    Raises:
        E5StudioError: As `E5Encoder`.
    """
    leases = [get_model_pool().lease_with(each, encode) for each in models]
    served = [served_model(lease) for lease in leases]
    return ServedModels(served), leases


def served_model(lease: Lease) -> ServedModel:
    """A leased model as the server knows it."""
    spec = lease.encoder.spec
    return ServedModel(spec.model, lease.encoder, spec, spec.fingerprint, int(time.time()))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        AddressError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressError(
            f"The server cannot listen on {host}, port {port}: {error.strerror or error}.",
            "Take another --port, or a --host of this machine.",
        ) from error
    return listener


def serve(listener: socket.socket, server: Server, *, drain_seconds: int) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once.

    Args:
        listener: From `listen`.
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
