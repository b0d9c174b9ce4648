"""A request that is refused or fails, as a kind and a sentence; each dialect gives it a status and a body."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from e5studio.errors import E5StudioError, NonFiniteError, OutOfMemoryError, PromptError, TextError
from e5studio.text_checks import listed_indices

ErrorKind = Literal[
    "invalid",
    "empty",
    "too_many",
    "unauthorized",
    "unknown_model",
    "not_found",
    "too_large",
    "too_slow",
    "overloaded",
    "unavailable",
    "unsupported",
    "non_finite",
    "failed",
]

STATUSES: dict[ErrorKind, int] = {
    "invalid": 400,
    "empty": 400,
    "too_many": 400,
    "unauthorized": 401,
    "unknown_model": 404,
    "not_found": 404,
    "too_large": 413,
    "too_slow": 408,
    "overloaded": 429,
    "unavailable": 503,
    "unsupported": 400,
    "non_finite": 500,
    "failed": 500,
}
"""The status of each kind, where a dialect has no other."""

_log = logging.getLogger(__name__)


class RequestError(E5StudioError):
    """A request that is refused or fails.

    Args:
        kind: What is wrong, for programs.
        message: What is wrong and what to do, for people. It holds no text of the request.
        param: The field, such as "input" or "input.3".
        retry_after: Seconds after which the same request has a chance, where waiting helps.
    """

    def __init__(
        self, kind: ErrorKind, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after = retry_after


def as_request_error(error: BaseException, param: str = "input") -> RequestError:
    """What a failure inside is to the client; what is no fault of the request shows nothing of the inside.

    Args:
        error: What was raised.
        param: The field that holds the texts.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, NonFiniteError):
        return RequestError(
            "non_finite",
            f"The model computed NaN, infinity or zero for the texts at {listed_indices(error.indices)}; no vectors "
            "were sent. Leave these texts out, or compute in float32.",
            param=_indexed(param, error.indices),
        )
    if isinstance(error, TextError):
        return RequestError("empty", str(error), param=_indexed(param, error.indices))
    if isinstance(error, PromptError):
        return RequestError("invalid", error.fact, param="instruction")  # no other prompt can be too long
    if isinstance(error, OutOfMemoryError):
        return RequestError("unavailable", "The server has too little memory for this now. Try again.", retry_after=5.0)
    _log.error("A request failed", exc_info=error)
    return RequestError("failed", "The server failed to compute this. Its log says why.")


def _indexed(param: str, indices: Sequence[int]) -> str:
    return f"{param}.{indices[0]}" if indices else param
