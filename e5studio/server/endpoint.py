"""What every request has in common: its key is compared, its body read within bounds, a dialect's answer written.

The dialect answers unless the client goes away first. A request is logged in one line, which holds no text.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from e5studio.server.limits import DisconnectedError, Gate, read_body
from e5studio.server.request_errors import ErrorKind, RequestError, as_request_error
from e5studio.server.service import Call, Dialect, DialectRoute, PlainAnswer, Service
from e5studio.server.text_engine import Embedded

JSON = "application/json"
_MAX_REQUEST_ID = 64
_log = logging.getLogger("e5studio.server")


@dataclass(frozen=True)
class Finished:
    """A request that is over.

    Attributes:
        route: Its path, as the routes have it.
        status: Of its answer; 0 if the client went away.
        seconds: From its first byte.
        model: Name of the model, if it came so far.
        error: What was wrong, if anything.
    """

    route: str
    status: int
    seconds: float
    model: str
    error: ErrorKind | None


OnFinished = Callable[[Finished, list[Embedded]], None]


def routes_of(
    dialects: Iterable[tuple[Dialect, Sequence[DialectRoute]]],
    service: Service,
    gate: Gate,
    on_finished: OnFinished | None = None,
) -> list[Route]:
    """The routes of dialects over a service, for a Starlette application.

    Args:
        dialects: Each with its routes.
        service: What they stand on.
        gate: Lets requests in.
        on_finished: Called with each request that is over, and what it embedded.
    """
    return [
        Route(each.path, Endpoint(service, gate, dialect, each, on_finished), methods=[each.method])
        for dialect, routes in dialects
        for each in routes
    ]


class Endpoint:
    """One route, as an ASGI application.

    Args:
        service: What dialects stand on.
        gate: Lets requests in.
        dialect: Of the route.
        route: What answers.
        on_finished: Called with each request that is over, and what it embedded.
    """

    def __init__(
        self, service: Service, gate: Gate, dialect: Dialect, route: DialectRoute, on_finished: OnFinished | None
    ) -> None:
        self._service, self._gate, self._dialect, self._route = service, gate, dialect, route
        self._on_finished = on_finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begin = time.perf_counter()
        headers = Headers(scope=scope)
        call = Call(self._service, {}, scope.get("path_params", {}))
        error: RequestError | None = None
        try:
            answer = await self._answer(call, headers, receive)
        except DisconnectedError:
            self._finish(call, begin, 0, None, "")
            return
        except Exception as failure:
            error = as_request_error(failure)
            answer = self._error_answer(error)
        request_id = _request_id(headers)
        more = {"x-request-id": request_id, **_headers(call, begin), **_error_headers(error)}
        await Response(answer.content, answer.status, more, answer.media_type)(scope, receive, send)
        self._finish(call, begin, answer.status, error, request_id)

    async def _answer(self, call: Call, headers: Headers, receive: Receive) -> PlainAnswer:
        gate = self._gate
        gate.check_key(headers)
        with gate.enter():
            if self._route.method == "POST":
                call.body = await read_body(headers, receive, gate)
                answer = await _until_disconnect(self._route.handler(call), receive)
            else:
                answer = await self._route.handler(call)
            return answer if isinstance(answer, PlainAnswer) else PlainAnswer(as_json(answer), JSON)

    def _error_answer(self, error: RequestError) -> PlainAnswer:
        status = self._dialect.status(error.kind)
        return PlainAnswer(as_json(self._dialect.error_body(error, status)), JSON, status)

    def _finish(self, call: Call, begin: float, status: int, error: RequestError | None, request_id: str) -> None:
        seconds = time.perf_counter() - begin
        model = call.named.model.name if call.named else ""
        kind: ErrorKind | None = error.kind if error else None
        if self._on_finished is not None:
            self._on_finished(Finished(self._route.path, status, seconds, model, kind), call.embedded)
        if _log.isEnabledFor(logging.INFO):
            facts = {
                "route": self._route.path,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "model": model,
                "texts": sum(len(part.texts) for part in call.parts),
                "tokens": call.n_tokens,
                "error": kind,
                "request": request_id,
            }
            _log.info(json.dumps({name: value for name, value in facts.items() if value not in (None, "")}))


async def _until_disconnect(work: Awaitable[Any], receive: Receive) -> Any:
    """The result of a handler, which is cancelled if its client goes away."""
    handling = asyncio.current_task()
    assert handling is not None
    watcher = asyncio.ensure_future(_disconnect(receive, handling))
    try:
        return await work
    except asyncio.CancelledError:
        if watcher.done() and not watcher.cancelled() and handling.uncancel() == 0:
            raise DisconnectedError from None
        raise
    finally:
        watcher.cancel()


async def _disconnect(receive: Receive, handling: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    handling.cancel()


def as_json(content: Any) -> bytes:
    """Content as JSON, arrays among it."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _headers(call: Call, begin: float) -> dict[str, str]:
    """TEI's headers in milliseconds, and what was done to the texts."""
    if not call.embedded:
        return {}
    timings = [each.timings for each in call.embedded]
    seconds = {
        "x-total-time": time.perf_counter() - begin,
        "x-tokenization-time": timings[0].tokenization,
        "x-queue-time": max(each.queue for each in timings),
        "x-inference-time": max(each.inference for each in timings),
    }
    seconds["x-compute-time"] = seconds["x-inference-time"]
    return {
        **{name: str(round(value * 1000)) for name, value in seconds.items()},
        "x-compute-type": call.embedded[0].report.device,
        "x-compute-characters": str(sum(len(text) for part in call.parts for text in part.texts)),
        "x-compute-tokens": str(call.n_tokens),
        "x-truncated-inputs": str(sum(len(each.report.truncated) for each in call.embedded)),
        # As JSON, since a header loses the space at the end of "query: ".
        "x-e5-prompt": json.dumps([part.prompt.text for part in call.parts]),
        "x-e5-fingerprint": call.fingerprint,
    }


def _error_headers(error: RequestError | None) -> dict[str, str]:
    if error is None:
        return {}
    if error.kind == "unauthorized":
        return {"www-authenticate": "Bearer"}
    if error.retry_after is None:
        return {}
    seconds = max(error.retry_after, 0.05)
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    is_usable = 0 < len(given) <= _MAX_REQUEST_ID and given.isascii() and given.replace("-", "").isalnum()
    return given if is_usable else uuid.uuid4().hex
