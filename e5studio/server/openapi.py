"""The OpenAPI document of a server: its routes, the fields of their bodies, every status that they answer with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from e5studio import __version__
from e5studio.server import health
from e5studio.server.request_errors import STATUSES, ErrorKind, RequestError
from e5studio.server.schemas import Schema, schema_of
from e5studio.server.service import Dialect, DialectRoute

PATH = "/openapi.json"
METRICS_PATHS = ("/metrics", "/v1/metrics")

_KEY = "key"
_OF_A_GET: tuple[ErrorKind, ...] = ("unauthorized", "overloaded", "unavailable", "failed")
_JSON = "application/json"
_EXAMPLE = RequestError("invalid", "What is wrong and what to do.")


def document(dialects: Iterable[tuple[Dialect, Sequence[DialectRoute]]], *, needs_key: bool) -> dict[str, Any]:
    """The document.

    Args:
        dialects: The dialects and their routes.
        needs_key: Whether the server has API keys.
    """
    paths: dict[str, dict[str, Any]] = {}
    for dialect, routes in dialects:
        for route in routes:
            if route.method == "POST" and route.body is None:
                continue  # it is there to refuse
            path = route.path.replace(":path}", "}")
            paths.setdefault(path, {})[route.method.lower()] = _operation(dialect, route, needs_key)
    for path in health.READY_PATHS + health.LIVE_PATHS:
        paths.setdefault(path, {})["get"] = _health_operation(path)
    for path in METRICS_PATHS:
        content = {"text/plain": {"schema": {"type": "string"}}}
        paths[path] = {"get": {"summary": "Metrics.", "responses": {"200": _response(200, content)}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "E5 Studio", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {_KEY: {"type": "http", "scheme": "bearer"}}} if needs_key else {},
    }


def _operation(dialect: Dialect, route: DialectRoute, needs_key: bool) -> dict[str, Any]:
    kinds = _OF_A_GET if route.method == "GET" else tuple(kind for kind in STATUSES if kind != "not_found")
    if "{" in route.path:
        kinds += ("unknown_model",)
    operation: dict[str, Any] = {
        "summary": (inspect.getdoc(route.handler) or "").partition("\n")[0],
        "tags": [dialect.name],
    }
    if names := re.findall(r"{(\w+)", route.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    if needs_key:
        operation["security"] = [{_KEY: []}]
    statuses = {dialect.status(kind) for kind in kinds if needs_key or kind != "unauthorized"}
    errors = {str(status): _error_response(dialect, status) for status in sorted(statuses)}
    operation["responses"] = {"200": _response(200, _content({"type": route.answer})), **errors}
    return operation


def _error_response(dialect: Dialect, status: int) -> dict[str, Any]:
    return _response(status, _content(schema_of(dialect.error_body(_EXAMPLE, status))))


def _health_operation(path: str) -> dict[str, Any]:
    answer = health.ready if path in health.READY_PATHS else health.live
    responses = {}
    for is_ready in (True, False):
        content, status = answer(path, is_ready)
        responses[str(status)] = _response(status, None if content is None else _content(schema_of(content)))
    return {
        "summary": "Whether the server is ready." if answer is health.ready else "Whether the server lives.",
        "responses": responses,
    }


def _response(status: int, content: Schema | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    return response if content is None else {**response, "content": content}


def _content(schema: Schema) -> dict[str, Any]:
    return {_JSON: {"schema": schema}}
