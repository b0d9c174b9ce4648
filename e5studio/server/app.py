"""The ASGI application: routes, and what every request has in common.

A request is counted, its key compared, its body read within bounds and parsed; a dialect answers it, unless its client
goes away first; the answer is written, measured and logged in one line, which holds no text.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from e5studio.server import health, openapi
from e5studio.server.dialects import cohere, ollama, openai, own, tei
from e5studio.server.engine import Engine
from e5studio.server.limits import DisconnectedError, Gate, Limits, read_body
from e5studio.server.metrics import Finished, Metrics
from e5studio.server.request_errors import ErrorKind, RequestError, as_request_error
from e5studio.server.roles import Roles
from e5studio.server.served_models import ServedModels
from e5studio.server.service import Call, Dialect, DialectRoute, PlainAnswer, Service
from e5studio.server.token_ids import TokenIds

DIALECTS = tuple((module.DIALECT, module.ROUTES) for module in (openai, tei, cohere, ollama, own))

_MAX_REQUEST_ID = 64
_JSON = "application/json"
_log = logging.getLogger("e5studio.server")


@dataclass(frozen=True)
class ServerOptions:
    """How a server behaves.

    Attributes:
        roles: How prompts are chosen.
        token_ids: What token ids mean.
        limits: What requests may cost.
        max_items: Most texts of a request.
        max_queue_tokens: Most tokens that wait.
        api_keys: Any of which opens; none for an open server.
        cors_origins: Pages of which addresses may call; none by default.
    """

    roles: Roles = field(default_factory=Roles)
    token_ids: TokenIds = field(default_factory=TokenIds)
    limits: Limits = field(default_factory=Limits)
    max_items: int = 2_048
    max_queue_tokens: int = 1 << 20
    api_keys: Sequence[str] = ()
    cors_origins: Sequence[str] = ()


class Server:
    """One server: its engine, its gate, its metrics, and `app`, which an ASGI server runs.

    Args:
        models: The loaded models.
        options: How it behaves.
    """

    def __init__(self, models: ServedModels, options: ServerOptions | None = None) -> None:
        options = options or ServerOptions()
        self.engine = Engine(max_queue_tokens=options.max_queue_tokens, on_batch=self._count_batch)
        self.gate = Gate(options.limits, options.api_keys)
        self.service = Service(
            models,
            self.engine,
            options.roles,
            options.token_ids,
            options.max_items,
            options.limits.max_concurrent,
        )
        admission = self.engine.admission
        self.metrics = Metrics(
            lambda: self.gate.n_requests,
            lambda: self.engine.n_waiting,
            lambda: admission.n_waiting,
            lambda: admission.tokens_per_second,
        )
        self.app = Starlette(
            routes=self._routes(),
            middleware=_cors(options.cors_origins),
            exception_handlers={HTTPException: _no_such_route},  # type: ignore[dict-item]
            lifespan=self._lifespan,
        )

    def drain(self) -> None:
        """Take no more requests; those that were admitted are answered."""
        self.gate.is_draining = True

    def _routes(self) -> list[Route]:
        routes = [
            Route(each.path, _Endpoint(self, dialect, each), methods=[each.method])
            for dialect, of_dialect in DIALECTS
            for each in of_dialect
        ]
        answers = {**dict.fromkeys(health.READY_PATHS, health.ready), **dict.fromkeys(health.LIVE_PATHS, health.live)}
        for path, answer in answers.items():
            routes.append(Route(path, _health_route(self, answer), methods=["GET"]))
        for path in openapi.METRICS_PATHS:
            routes.append(Route(path, self._metrics, methods=["GET"]))
        routes.append(Route(openapi.PATH, self._openapi, methods=["GET"]))
        return routes

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, request: Request) -> Response:
        document = openapi.document(DIALECTS, needs_key=self.gate.needs_key)
        return Response(_as_json(document), media_type=_JSON)

    def _count_batch(self, model: str, n_texts: int, n_tokens: int, seconds: float) -> None:
        self.metrics.batch(model, n_texts, n_tokens, seconds)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.engine.start()
        try:
            for model in self.service.models:
                await self.engine.probe(model)
            yield
        finally:
            await asyncio.to_thread(self.engine.close)


class _Endpoint:
    """One route, as an ASGI application."""

    def __init__(self, server: Server, dialect: Dialect, route: DialectRoute) -> None:
        self._server, self._dialect, self._route = server, dialect, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        headers = Headers(scope=scope)
        call = Call(self._server.service, {}, scope.get("path_params", {}))
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
        gate = self._server.gate
        gate.check_key(headers)
        with gate.enter():
            if self._route.method == "POST":
                call.body = await read_body(headers, receive, gate)
                answer = await _until_disconnect(self._route.handler(call), receive)
            else:
                answer = await self._route.handler(call)
            return answer if isinstance(answer, PlainAnswer) else PlainAnswer(_as_json(answer), _JSON)

    def _error_answer(self, error: RequestError) -> PlainAnswer:
        status = self._dialect.status(error.kind)
        return PlainAnswer(_as_json(self._dialect.error_body(error, status)), _JSON, status)

    def _finish(self, call: Call, begin: float, status: int, error: RequestError | None, request_id: str) -> None:
        seconds = time.perf_counter() - begin
        model = call.named.model.name if call.named else ""
        kind: ErrorKind | None = error.kind if error else None
        self._server.metrics.request(Finished(self._route.path, status, seconds, model, kind), call.embedded)
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


def _as_json(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _headers(call: Call, begin: float) -> dict[str, str]:
    """TEI's headers in milliseconds, and what was done to the texts."""
    if not call.embedded or call.named is None:
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
        "x-compute-type": call.named.model.encoder.device,
        "x-compute-characters": str(sum(len(text) for part in call.parts for text in part.texts)),
        "x-compute-tokens": str(call.n_tokens),
        "x-truncated-inputs": str(sum(len(each.report.truncated) for each in call.embedded)),
        # As JSON, since a header loses the space at the end of "query: ".
        "x-e5-prompt": json.dumps([part.prompt.text for part in call.parts]),
        "x-e5-fingerprint": call.named.model.fingerprint,
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


def _health_route(server: Server, answer: health.HealthAnswer) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        is_ready = not server.gate.is_draining and await health.is_well(server.service)
        content, status = answer(request.url.path, is_ready)
        return Response(status_code=status) if content is None else Response(_as_json(content), status, None, _JSON)

    return respond


async def _no_such_route(request: Request, error: HTTPException) -> Response:
    kind: ErrorKind = "not_found"
    refused = RequestError(kind, f"There is no {request.method} route of this name here.")
    content, methods = _as_json(openai.error_body(refused, error.status_code)), _methods(request)
    return Response(content, error.status_code, {"allow": ", ".join(methods)} if methods else None, _JSON)


def _methods(request: Request) -> list[str]:
    """The methods of all routes of a path: Starlette names those of the first."""
    routes = [each for each in request.app.routes if each.matches(request.scope)[0] != Match.NONE]
    return sorted({method for each in routes for method in each.methods})


def _cors(origins: Sequence[str]) -> list[Middleware]:
    if not origins:
        return []
    return [Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"])]
