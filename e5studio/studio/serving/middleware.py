"""Shared parts of the Studio's ASGI middleware."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

VISITOR = "e5studio.visitor"
"""Key of a scope: the visitor that the request counts for (`serving.visitors`)."""

BODY_BYTES = "e5studio.body_bytes"
"""Key of a scope: number of bytes of a body that was read whole."""

REFUSALS = "e5studio.refusals"
"""Key of a scope: a list of why the values that a request brings were refused, if they were."""


class HttpMiddleware:
    """Middleware that handles HTTP requests and passes on everything else.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an HTTP request; pass on the lifespan and WebSockets."""
        handle = self.handle if scope["type"] == "http" else self._app
        await handle(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on."""
        raise NotImplementedError


class Compression(GZipMiddleware):
    """Compresses what the page loads; vectors for programs hardly shrink, and all visitors would wait meanwhile."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, whose answer may be compressed."""
        handle = self.app if is_v1(scope) else super().__call__
        await handle(scope, receive, send)


def is_v1(scope: Scope) -> bool:
    """Whether a program asks a route of `api.v1`."""
    path: str = scope.get("path", "")
    return "/v1/" in path and "/gradio_api/" not in path


def announced_length(scope: Scope) -> int:
    """Number of bytes that a request announces for its body; 0 if it announces none."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
