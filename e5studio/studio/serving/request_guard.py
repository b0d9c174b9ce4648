"""Refuses, before Gradio sees them, requests that the page never sends.

Gradio streams any public URL through `/gradio_api/file=http...`, which would make a public Studio an anonymous proxy.
It writes pages to disk for its deep links and does not limit the size of a request's body. Its MCP server answers any
web page that is open in a browser on this machine, which the protocol forbids.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from e5studio.studio.serving.middleware import HttpMiddleware, announced_length

MAX_BODY_BYTES = 8_000_000

MAX_FILE_BYTES = 250_000_000
"""Most bytes of an uploaded file: room for 100 million characters, or for 50,000 vectors of 1,024 dimensions."""

MAX_UPLOAD_BYTES = 260_000_000
"""Most bytes of an upload's body: a little more, so that Gradio, which tidies up, refuses a single large file itself.

Other uploads that are cut off leave files, which `e5studio.studio.serving.uploads` deletes by age.
"""

ASSISTANT_HEADER = "x-e5studio-assistant"
"""Marks requests that came by MCP: assistants pay for every number that they read."""

_UPLOAD_ROUTE = "/gradio_api/upload"
_GRADIO = "/gradio_api/"
# Of Gradio's routes, those of the page and of programs. The others take files that nobody deletes, start programs on
# them, call functions of components that this page does not have, or write pages to disk.
_USED = {
    "GET": (
        r"app_id|call/.+|file[=/].+|heartbeat/.+|info|openapi\.json|queue/data|startup-events|theme\.css|upload_progress"
    ),
    "POST": r"api/.+|call/.+|cancel|queue/join|reset|run/.+|upload",
}
_USED_ROUTES = {method: re.compile(rf"({routes})/?", re.DOTALL) for method, routes in _USED.items()}
_MCP_ROUTE = "/gradio_api/mcp"


class _BodyTooLargeError(Exception):
    """The body has more bytes than the limit."""


class RequestGuard(HttpMiddleware):
    """Refuses requests; holds no state between them.

    Args:
        app: The application behind it.
        max_body_bytes: Most bytes of a request's body.
        max_upload_bytes: Most bytes of a body with files.
        has_room: Whether the server takes more files now.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_upload_bytes: int = MAX_UPLOAD_BYTES,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(app)
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max_upload_bytes
        self._has_room = has_room

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403, 413 or 507."""
        is_upload = scope["path"].endswith(_UPLOAD_ROUTE)
        limit = self._max_upload_bytes if is_upload else self._max_body_bytes
        refusal = _forbidden(scope)
        if refusal is None and announced_length(scope) > limit:
            refusal = _too_large()
        if refusal is None and is_upload and not self._has_room():
            message = "The Studio cannot hold more files now. Try again in ten minutes."
            refusal = PlainTextResponse(message, 507)
        if refusal is not None:
            return await refusal(scope, receive, send)
        if _MCP_ROUTE in scope["path"]:
            scope = {**scope, "headers": [*scope["headers"], (ASSISTANT_HEADER.encode(), b"1")]}
        await self._pass_on(scope, receive, send, limit)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        n_received = 0
        is_too_large = False
        has_answered = False

        async def receive_counted() -> Message:
            nonlocal n_received, is_too_large
            message = await receive()
            n_received += len(message.get("body", b""))
            is_too_large = n_received > limit
            if is_too_large:
                raise _BodyTooLargeError
            return message

        async def send_watched(message: Message) -> None:
            nonlocal has_answered
            if is_too_large and not has_answered:
                raise _BodyTooLargeError  # FastAPI mistakes the first for a body that it cannot parse, and says so
            has_answered = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_watched)
        except _BodyTooLargeError:
            if not has_answered:
                await _too_large()(scope, receive, send)


def _forbidden(scope: Scope) -> PlainTextResponse | None:
    path = scope["path"]
    if _asks_for_foreign_file(path):
        return PlainTextResponse("The Studio fetches nothing from elsewhere.", 403)
    if not _is_used(scope["method"], path):
        return PlainTextResponse("The page does not use this route.", 403)
    if _MCP_ROUTE in path and _comes_from_foreign_page(scope):
        return PlainTextResponse("A page of another site may not use this Studio through your browser.", 403)
    return None


def _is_used(method: str, path: str) -> bool:
    """Whether the page or programs use a route; every route that is not Gradio's is used."""
    _, is_gradio, route = path.partition(_GRADIO)
    if not is_gradio or method == "OPTIONS" or route.startswith(_MCP_ROUTE.removeprefix(_GRADIO)):
        return True
    routes = _USED_ROUTES.get("GET" if method == "HEAD" else method)
    return routes is not None and routes.fullmatch(route) is not None


def _too_large() -> PlainTextResponse:
    return PlainTextResponse("The request is too large.", 413)


def _asks_for_foreign_file(path: str) -> bool:
    _, marker, target = path.replace("/file/", "/file=", 1).partition("/file=")  # Gradio has an older route as well
    return (bool(marker) and "://" in target) or target.lower().startswith(("http:", "https:", "//"))


def _comes_from_foreign_page(scope: Scope) -> bool:
    """Whether a browser on this machine sent the request for a page of another site.

    The page's host name may resolve to this machine (DNS rebinding), so that the browser sees a single site. Browsers
    send the page's origin with every POST; assistants send none.
    """
    origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
    server = scope.get("server")
    if origin is None or server is None or not _is_this_machine(server[0]):
        return False
    try:
        return not _is_this_machine(urlsplit(origin.decode("latin-1")).hostname)
    except ValueError:  # not an address
        return True


def _is_this_machine(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # a server that listens on "::" is reached there
    return (mapped or address).is_loopback
