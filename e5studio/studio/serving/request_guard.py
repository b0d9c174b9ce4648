"""Refuses, before Gradio sees them, requests that the page never sends, and bounds those that it does.

Gradio streams any public URL through `/gradio_api/file=http...`, which would make a public Studio an anonymous proxy.
It writes pages to disk for its deep links, does not limit the size of a request's body, and sends a body that it
refuses back whole.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from e5studio.studio.serving.bodies import (
    MAX_BODY_BYTES,
    MAX_NAME_CHARACTERS,
    Arrival,
    BodyError,
    DisconnectedError,
    checked_names,
    read_whole,
    too_large,
)
from e5studio.studio.serving.middleware import BODY_BYTES, REFUSALS, VISITOR, HttpMiddleware, announced_length, is_v1
from e5studio.studio.serving.origins import Origins, believed_headers
from e5studio.studio.serving.visitors import RUNNING_VISITOR, Shares, visitor_of

_log = logging.getLogger(__name__)

MAX_FILE_BYTES = 250_000_000
"""Most bytes of an uploaded file: room for 100 million characters, or for 50,000 vectors of 1,024 dimensions."""

MAX_UPLOAD_BYTES = 260_000_000
"""Most bytes of an upload's body: a little more, so that Gradio refuses a single large file itself, in a sentence."""

ASSISTANT_HEADER = "x-e5studio-assistant"
"""Marks requests that came by MCP: assistants pay for every number that they read."""

_ARRIVING_BYTES = 64_000_000  # over all bodies that are being read or answered; four times as much in memory, as text
_MAX_QUERY_BYTES = 4_000
_MAX_RANGES = 1

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
_UNUSED_PAGES = re.compile(r"/(login|login_check|logout|monitoring|pwa_icon|user|token)(/.*)?$", re.DOTALL)
_MCP_ROUTE = "/gradio_api/mcp"
_CALL_BY_NAMES = "/gradio_api/call/v2/"  # its arguments stand where the names of others stand
_FILE_ROUTE = re.compile(r"/gradio_api/file[=/]")


class Upload(Protocol):
    """An upload that is coming, as `uploads.Uploads` counts it."""

    def take(self, n_bytes: int) -> bool:
        """Count bytes; False if there is no room for them."""

    def end(self, paths: Sequence[Path]) -> None:
        """Count the files that the upload has become in place of its bytes; none if it failed."""


class UploadRoom(Protocol):
    """Room for uploads, as `uploads.Uploads` counts it."""

    def begin(self, visitor: str) -> Upload | None:
        """Begin an upload; None if there is no room for another."""


class RequestGuard(HttpMiddleware):
    """Refuses requests, and reads the bodies of the others within bounds.

    Args:
        app: The application behind it.
        uploads: Room for uploaded files.
        origins: Which hosts and pages may use this server.
        max_body_bytes: Most bytes of a request's body.
        max_upload_bytes: Most bytes of a body with files.
    """

    def __init__(
        self,
        app: ASGIApp,
        uploads: UploadRoom,
        origins: Origins = Origins(),  # noqa: B008 - frozen
        max_body_bytes: int = MAX_BODY_BYTES,
        max_upload_bytes: int = MAX_UPLOAD_BYTES,
    ) -> None:
        super().__init__(app)
        self._uploads = uploads
        self._origins = origins
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max_upload_bytes
        self._arriving = Shares(_ARRIVING_BYTES)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 400, 403, 408, 413, 429 or 507."""
        is_mcp = _MCP_ROUTE in scope["path"]
        reason = self._origins.refusal(scope, is_mcp) or _forbidden(scope)
        if reason is not None:
            return await PlainTextResponse(reason, 403)(scope, receive, send)
        if not _has_short_names(scope):
            message = f"A name in the address has more than {MAX_NAME_CHARACTERS} characters."
            return await PlainTextResponse(message, 414)(scope, receive, send)
        headers = believed_headers(scope)
        if is_mcp:
            headers.append((ASSISTANT_HEADER.encode(), b"1"))
        scope = {**scope, "headers": _with_one_range(headers), VISITOR: visitor_of(scope), REFUSALS: []}
        answer = _Answer(scope, send)
        try:
            if scope["path"].rstrip("/").endswith(_UPLOAD_ROUTE):
                await self._pass_upload(scope, receive, answer)
            else:
                await self._pass_body(scope, receive, answer)
        except BodyError as error:
            if not answer.has_begun:
                await _refusal(scope, error)(scope, receive, send)
        except DisconnectedError:
            return

    async def _pass_upload(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if announced_length(scope) > self._max_upload_bytes:
            raise too_large()
        full = BodyError(507, "The Studio cannot hold more files now. Try again in ten minutes.")
        upload = self._uploads.begin(scope[VISITOR])
        if upload is None:
            raise full
        arrival = Arrival(receive, self._max_upload_bytes, upload.take, full)
        try:
            await self._pass_on(scope, arrival, answer)
        finally:
            upload.end(answer.paths)

    async def _pass_body(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if announced_length(scope) > self._max_body_bytes:
            raise too_large()
        visitor = scope[VISITOR]
        full = BodyError(429, "The Studio is busy with long texts. Try again in a minute.")
        arrival = Arrival(receive, self._max_body_bytes, lambda n_bytes: self._arriving.take(visitor, n_bytes), full)
        try:
            if scope["method"] != "POST" or not (_GRADIO in scope["path"] or is_v1(scope)):
                return await self._pass_on(scope, arrival, answer)
            body = await read_whole(arrival)
            names = checked_names(body, _has_names(scope["path"]))
            session = names.get("session_hash")
            scope[BODY_BYTES] = len(body)
            scope[VISITOR] = visitor_of(scope, session if isinstance(session, str) else None)
            RUNNING_VISITOR.set(scope[VISITOR])
            await self._pass_on(scope, _replay(body, receive), answer)
        finally:
            self._arriving.add(visitor, -arrival.n_bytes)

    async def _pass_on(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        refusals: list[BodyError] = []

        async def receive_noted() -> Message:
            try:
                return await receive()
            except BodyError as error:
                refusals.append(error)
                raise

        async def send(message: Message) -> None:
            if refusals and not answer.has_begun:
                raise refusals[0]  # FastAPI mistakes the first for a body that it cannot parse, and says so
            await answer(message)

        try:
            await self._app(scope, receive_noted, send)
        except BodyError:
            raise
        except Exception:
            if answer.has_begun or not _is_of_programs(scope):
                raise
            _log.warning("A request that Gradio could not read", exc_info=True)
            raise BodyError(400, _NOT_UNDERSTOOD) from None


class _Answer:
    """Sends the answer on, but for what Gradio should not say; remembers the paths of uploaded files."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._is_replaced = False
        self._content = b""
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._is_replaced = message["status"] == 422  # Gradio repeats what it was sent
            if self._is_replaced:
                await JSONResponse({"detail": _NOT_UNDERSTOOD}, 422)(self._scope, _nothing, self._send)
            elif message["status"] == 500 and self._scope[REFUSALS]:
                message = {**message, "status": 400}  # Gradio has one status for all errors
            elif _FILE_ROUTE.search(self._scope["path"]):
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
        elif _UPLOAD_ROUTE in self._scope["path"]:
            self._content += message.get("body", b"")  # the paths of a few files
        if not self._is_replaced:
            await self._send(message)

    @property
    def paths(self) -> list[Path]:
        """The files that an upload has become; none if it failed."""
        try:
            paths = json.loads(self._content)
        except ValueError:
            return []
        return [Path(path) for path in paths] if isinstance(paths, list) else []


_NOT_UNDERSTOOD = "This is no request that the Studio understands; /gradio_api/openapi.json describes its endpoints."


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read, and then whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_body() -> Message:
        return messages.pop() if messages else await receive()

    return receive_body


def _refusal(scope: Scope, error: BodyError) -> Response:
    """The answer to a refused body; of events in JSON, so that the page can show it, under /v1 in OpenAI's form."""
    if is_v1(scope):
        kind = "rate_limit_error" if error.status == 429 else "invalid_request_error"
        return JSONResponse({"error": {"message": str(error), "type": kind, "param": None, "code": None}}, error.status)
    if scope["path"].rstrip("/").endswith(_UPLOAD_ROUTE) or error.status == 413:
        return PlainTextResponse(str(error), error.status)
    return JSONResponse({"detail": str(error)}, error.status)


def _forbidden(scope: Scope) -> str | None:
    path = scope["path"]
    if _asks_for_foreign_file(path):
        return "The Studio fetches nothing from elsewhere."
    if not _is_used(scope["method"], path):
        return "The page does not use this route."
    return None


def _is_used(method: str, path: str) -> bool:
    """Whether the page or programs use a route."""
    _, is_gradio, route = path.partition(_GRADIO)
    if not is_gradio:
        return not _UNUSED_PAGES.search(path)
    if method == "OPTIONS" or route.startswith(_MCP_ROUTE.removeprefix(_GRADIO)):
        return True
    routes = _USED_ROUTES.get("GET" if method == "HEAD" else method)
    return routes is not None and routes.fullmatch(route) is not None


def _asks_for_foreign_file(path: str) -> bool:
    _, marker, target = path.replace("/file/", "/file=", 1).partition("/file=")  # Gradio has an older route as well
    return (bool(marker) and "://" in target) or target.lower().startswith(("http:", "https:", "//"))


def _has_short_names(scope: Scope) -> bool:
    """Whether the names in an address of Gradio's are short: sessions, events, functions, uploads, files."""
    _, is_gradio, route = scope["path"].partition(_GRADIO)
    if not is_gradio:
        return True
    names = route.replace("\\", "/").split("/")
    longest = 2 * MAX_NAME_CHARACTERS if _FILE_ROUTE.search(scope["path"]) else MAX_NAME_CHARACTERS
    return max(map(len, names)) <= longest and len(scope.get("query_string", b"")) <= _MAX_QUERY_BYTES


def _has_names(path: str) -> bool:
    return _GRADIO in path and _MCP_ROUTE not in path and _CALL_BY_NAMES not in path


def _is_of_programs(scope: Scope) -> bool:
    """Whether a request names a function and its arguments, in which mistakes are the sender's."""
    return scope["method"] == "POST" and _GRADIO in scope["path"] and _MCP_ROUTE not in scope["path"]


def _with_one_range(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, without a Range of many parts, to which a server may send the whole."""
    return [(name, value) for name, value in headers if name != b"range" or value.count(b",") < _MAX_RANGES]
