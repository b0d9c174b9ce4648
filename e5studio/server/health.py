"""Whether the server lives, and whether it is ready, on the paths that each family of clients and clusters asks.

Ready means that the models have embedded something: at the start, and again after a batch that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from e5studio.server.engine import Engine
from e5studio.server.request_errors import RequestError
from e5studio.server.served_models import Models

READY_PATHS = ("/", "/health", "/ping", "/readyz", "/v1/health/ready")
LIVE_PATHS = ("/livez", "/v1/health/live")

HealthAnswer = Callable[[str, bool], tuple[Any, int]]
"""From a path and whether the server is ready to an answer's JSON, or None for an empty one, and its status."""

_PROBE_SECONDS = 10.0


async def is_well(engine: Engine, models: Models) -> bool:
    """Whether the engine computes; after a failure it must embed a word first."""
    if engine.is_well:
        return True
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            for model in models:
                await engine.probe(model)
    except (RequestError, TimeoutError):
        return False
    return engine.is_well


def ready(path: str, is_ready: bool) -> tuple[Any, int]:
    """As TEI answers, and on NVIDIA's path as NVIDIA's servers do."""
    if path.startswith("/v1/"):
        message = "ready" if is_ready else "not ready"
        return {"object": "health.response", "message": message, "ready": is_ready}, 200 if is_ready else 503
    return (None, 200) if is_ready else ({"error": "unhealthy", "error_type": "unhealthy"}, 503)


def live(path: str, is_ready: bool) -> tuple[Any, int]:
    """The process answers."""
    return {"object": "health.response", "message": "live", "live": True}, 200
