"""The ASGI application of a server: the routes of all dialects, of its health, its metrics and its own description."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from e5studio.server import health, openapi
from e5studio.server.dialects import cohere, ollama, openai, own, tei
from e5studio.server.endpoint import JSON, as_json, routes_of
from e5studio.server.engine import Engine
from e5studio.server.limits import Gate, Limits
from e5studio.server.metrics import Metrics
from e5studio.server.request_errors import ErrorKind, RequestError
from e5studio.server.roles import Roles
from e5studio.server.served_models import ServedModels
from e5studio.server.service import Service
from e5studio.server.token_ids import TokenIds

DIALECTS = tuple((module.DIALECT, module.ROUTES) for module in (openai, tei, cohere, ollama, own))


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
        routes = routes_of(DIALECTS, self.service, self.gate, self.metrics.request)
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
        return Response(as_json(document), media_type=JSON)

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


def _health_route(server: Server, answer: health.HealthAnswer) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        is_ready = not server.gate.is_draining and await health.is_well(server.engine, server.service.models)
        content, status = answer(request.url.path, is_ready)
        return Response(status_code=status) if content is None else Response(as_json(content), status, None, JSON)

    return respond


async def _no_such_route(request: Request, error: HTTPException) -> Response:
    kind: ErrorKind = "not_found"
    refused = RequestError(kind, f"There is no {request.method} route of this name here.")
    content, methods = as_json(openai.error_body(refused, error.status_code)), _methods(request)
    return Response(content, error.status_code, {"allow": ", ".join(methods)} if methods else None, JSON)


def _methods(request: Request) -> list[str]:
    """The methods of all routes of a path: Starlette names those of the first."""
    routes = [each for each in request.app.routes if each.matches(request.scope)[0] != Match.NONE]
    return sorted({method for each in routes for method in each.methods})


def _cors(origins: Sequence[str]) -> list[Middleware]:
    if not origins:
        return []
    return [Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"])]
