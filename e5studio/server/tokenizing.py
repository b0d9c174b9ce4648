"""Tokenises requests in threads: short ones together, in a thread of their own, so that they never wait for long ones.

One call over many texts costs a tenth of a call for each. Short requests that come during a call make up the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from e5studio.encoder import E5Encoder
from e5studio.prepared_texts import PreparedTexts
from e5studio.server.preparation import TextPart, prepared_together
from e5studio.server.request_errors import RequestError

_SHORT_CHARACTERS = 4_000
_LONG_THREADS = 2


@dataclass(eq=False)
class TokenizedRequest:
    """A request before and after it is tokenised.

    Attributes:
        encoder: Whose tokens it needs.
        parts: Its texts.
        ready: Their tokens, part by part, unless there is an error.
        error: What is wrong with its texts.
        seconds: From `put` to the end of its tokenisation.
    """

    encoder: E5Encoder
    parts: Sequence[TextPart]
    ready: list[PreparedTexts] = field(default_factory=list)
    error: RequestError | None = None
    seconds: float = 0.0


R = TypeVar("R", bound=TokenizedRequest)


class Tokenizing(Generic[R]):
    """The threads that tokenise.

    Args:
        deliver: Called with the requests of a call, tokenised, in the thread that did it.
    """

    def __init__(self, deliver: Callable[[Sequence[R]], None]) -> None:
        self._deliver = deliver
        self._short = ThreadPoolExecutor(1, "tokenize-short")
        self._long = ThreadPoolExecutor(_LONG_THREADS, "tokenize")
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, R]] = []
        self._is_closed = False

    def put(self, request: R) -> None:
        """Tokenise a request soon.

        Raises:
            RequestError: The threads have ended.
        """
        if self._is_closed:
            raise ending()
        put_at = time.perf_counter()
        if sum(len(text) for part in request.parts for text in part.texts) > _SHORT_CHARACTERS:
            self._long.submit(self._tokenize, [(put_at, request)])
            return
        with self._lock:
            self._waiting.append((put_at, request))
            is_first = len(self._waiting) == 1
        if is_first:
            self._short.submit(self._tokenize_waiting)

    def close(self) -> None:
        """End; requests that still wait are refused."""
        self._is_closed = True
        for executor in (self._short, self._long):
            executor.shutdown()

    def _tokenize_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        self._tokenize(waiting)

    def _tokenize(self, waiting: Sequence[tuple[float, R]]) -> None:
        requests = [request for _, request in waiting]
        if self._is_closed:
            for request in requests:
                request.error = ending()
        else:
            _fill(requests)
        end = time.perf_counter()
        for put_at, request in waiting:
            request.seconds = end - put_at
        self._deliver(requests)


def _fill(requests: Sequence[TokenizedRequest]) -> None:
    """Give each request its tokens, or the error of its first bad part."""
    results = iter(prepared_together([(request.encoder, part) for request in requests for part in request.parts]))
    for request in requests:
        for _ in request.parts:
            result = next(results)
            if isinstance(result, PreparedTexts):
                request.ready.append(result)
            else:
                request.error = request.error or result


def ending() -> RequestError:
    """The refusal of what comes too late."""
    return RequestError("unavailable", "The server is ending.", retry_after=1.0)
