"""Refuses, before Gradio sees them, requests that nobody using the page makes.

Gradio streams any public URL through `/gradio_api/file=http...`, which would make a public
Studio an anonymous proxy, writes what a page shows to disk for its deep links, and sets no limit on the size of a
request's body. Its MCP server answers any web page that a browser on this machine has open, which the protocol forbids;
here such requests end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 8_000_000

MAX_FILE_BYTES = 250_000_000
"""Of an uploaded file: 100 million characters are hardly more, nor are 50,000 vectors of 1,024 dimensions."""

MAX_UPLOAD_BYTES = 260_000_000
"""Of the body that brings files: a little more, so that Gradio, which tidies up, refuses a single large file itself.

What is left of files that break off otherwise is deleted by age (`e5studio.studio.serving.uploads`).
"""

ASSISTANT_HEADER = "x-e5studio-assistant"
"""Put on every request of MCP: who reads the answer pays for every number."""

_UPLOAD_ROUTE = "/gradio_api/upload"
_UNUSED_ROUTES = (
    "/component_server",  # takes files, and calls functions of components that are not here
    "/deep_link",  # writes a page to disk; a link of ours holds its page itself
)
_MCP_ROUTE = "/gradio_api/mcp"


class _BodyTooLargeError(Exception):
    """More bytes came than are taken."""


class RequestGuard:
    """ASGI middleware; holds no state between requests.

    Args:
        app: What is guarded.
        max_body_bytes: Most bytes of a request's body.
        max_upload_bytes: The same of one that brings files.
        has_room: Whether more files are taken now.
    """

    def __init__(
        self,
        app: App,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_upload_bytes: int = MAX_UPLOAD_BYTES,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max_upload_bytes
        self._has_room = has_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403, 413 or 507."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"].rstrip("/").endswith(_UNUSED_ROUTES):
            return await _refuse(send, 403, b"No part of the page asks for this.")
        if _asks_for_foreign_file(scope["path"]):
            return await _refuse(send, 403, b"The Studio fetches nothing from elsewhere.")
        if _MCP_ROUTE in scope["path"]:
            if _comes_from_foreign_page(scope):
                return await _refuse(send, 403, b"No page of another site may use this Studio through your browser.")
            scope = {**scope, "headers": [*scope["headers"], (ASSISTANT_HEADER.encode(), b"1")]}
        is_upload = scope["path"].endswith(_UPLOAD_ROUTE)
        limit = self._max_upload_bytes if is_upload else self._max_body_bytes
        if announced_length(scope) > limit:
            return await _refuse(send, 413, b"The request is too large.")
        if is_upload and not self._has_room():
            return await _refuse(send, 507, b"The Studio holds as many files as it can. Try again in ten minutes.")
        await self._pass_on(scope, receive, send, limit)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        received = 0
        is_too_large = False
        has_answered = False

        async def counted() -> Message:
            nonlocal received, is_too_large
            message = await receive()
            received += len(message.get("body", b""))
            is_too_large = received > limit
            if is_too_large:
                raise _BodyTooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal has_answered
            if is_too_large and not has_answered:
                raise _BodyTooLargeError  # FastAPI takes the first for a body it cannot parse, and would say so
            has_answered = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _BodyTooLargeError:
            if not has_answered:
                await _refuse(send, 413, b"The request is too large.")


def _asks_for_foreign_file(path: str) -> bool:
    _, marker, target = path.replace("/file/", "/file=", 1).partition("/file=")  # Gradio's older route is there, too
    return (bool(marker) and "://" in target) or target.lower().startswith(("http:", "https:", "//"))


def _comes_from_foreign_page(scope: Scope) -> bool:
    """Whether a browser sent this to the machine that it runs on, for a page that came from elsewhere.

    The page's name may lead to this machine (DNS rebinding), so that the browser takes both for one site. Browsers
    name the page's origin with every POST; assistants name none.
    """
    origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
    server = scope.get("server")
    if origin is None or server is None or not _is_this_machine(server[0]):
        return False
    try:
        return not _is_this_machine(urlsplit(origin.decode("latin-1")).hostname)
    except ValueError:  # no address at all
        return True


def _is_this_machine(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # who listens on "::" is reached at ::ffff:127.0.0.1
    return (mapped or address).is_loopback


def announced_length(scope: Scope) -> int:
    """Bytes of a request's body as its header says; 0 where it does not."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


async def _refuse(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
