"""How many tokens may wait: a request is admitted whole or refused at once, with the time after which it would fit."""

from __future__ import annotations

import threading

from e5studio.server.request_errors import RequestError

_FIRST_RATE = 2_000.0  # tokens per second, until one is measured
_MEMORY_SECONDS = 20.0  # of computing, over which the rate is measured


class Admission:
    """Counts the tokens that wait or are computed; safe to share between threads.

    Args:
        max_tokens: Most tokens that wait at a time. A request of more is never admitted.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._n_waiting = 0
        self._computed_tokens = 0.0
        self._computed_seconds = 0.0
        self._lock = threading.Lock()

    @property
    def n_waiting(self) -> int:
        """Tokens admitted and not computed yet."""
        return self._n_waiting

    @property
    def tokens_per_second(self) -> float:
        """The measured speed of this machine, of late."""
        return self._computed_tokens / self._computed_seconds if self._computed_seconds > 0 else _FIRST_RATE

    def admit(self, n_tokens: int) -> Ticket:
        """Room for a request.

        Raises:
            RequestError: There is none now, or there never will be.
        """
        if n_tokens > self.max_tokens:
            raise RequestError(
                "too_large",
                f"The request has about {n_tokens:,} tokens; {self.max_tokens:,} are taken at once. Send it in parts.",
            )
        with self._lock:
            excess = self._n_waiting + n_tokens - self.max_tokens
            if excess <= 0:
                self._n_waiting += n_tokens
                return Ticket(self, n_tokens)
        raise RequestError(
            "overloaded",
            f"The server has {self._n_waiting:,} tokens to compute and takes no more now. Try again later.",
            retry_after=excess / self.tokens_per_second,
        )

    def measure(self, n_tokens: int, seconds: float) -> None:
        """Take a batch into the measured speed."""
        with self._lock:
            weight = max(0.0, 1 - seconds / _MEMORY_SECONDS)
            self._computed_tokens = self._computed_tokens * weight + n_tokens
            self._computed_seconds = self._computed_seconds * weight + seconds

    def _change(self, n_tokens: int) -> None:
        with self._lock:
            self._n_waiting += n_tokens


class Ticket:
    """The tokens of an admitted request; given back as they are computed, and the rest at the end."""

    def __init__(self, admission: Admission, n_tokens: int) -> None:
        self._admission = admission
        self._n_tokens = n_tokens
        self._is_over = False
        self._lock = threading.Lock()

    def correct(self, n_tokens: int) -> None:
        """Replace the estimate by the number counted, unless the request is over; what was admitted stays admitted."""
        with self._lock:
            if self._is_over:
                return
            self._admission._change(n_tokens - self._n_tokens)
            self._n_tokens = n_tokens

    def give_back(self, n_tokens: int | None = None) -> None:
        """Give back tokens; all that are left if None."""
        with self._lock:
            self._is_over = n_tokens is None
            n_tokens = self._n_tokens if n_tokens is None else min(n_tokens, self._n_tokens)
            self._admission._change(-n_tokens)
            self._n_tokens -= n_tokens
