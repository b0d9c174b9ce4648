"""What Prometheus reads: the names of text-embeddings-inference, so that its boards work, and a few of our own.

No label holds anything of a request but its route, its model and its status.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from e5studio.server.endpoint import Finished
from e5studio.server.request_errors import ErrorKind
from e5studio.server.text_engine import Embedded

_SECONDS = tuple(1e-3 * 1.7**step for step in range(22))
_SIZES = tuple(float(2**step) for step in range(13))
_LENGTHS = tuple(float(2**step) for step in range(2, 14))
_TEI_ERRORS: dict[ErrorKind, str] = {
    "empty": "empty",
    "overloaded": "overloaded",
    "unavailable": "unhealthy",
    "non_finite": "backend",
    "failed": "backend",
}


class Metrics:
    """The metrics of one server.

    Args:
        requests_in_progress: Gives the requests that have begun.
        waiting_requests: Gives the requests that wait.
        waiting_tokens: Gives the tokens that wait.
        tokens_per_second: Gives the measured speed.
    """

    def __init__(
        self,
        requests_in_progress: Callable[[], float],
        waiting_requests: Callable[[], float],
        waiting_tokens: Callable[[], float],
        tokens_per_second: Callable[[], float],
    ) -> None:
        registry = self._registry = CollectorRegistry()
        # TEI's counters have no _total at their end, which this library would put there: so they are gauges here.
        self._count = Gauge("te_request_count", "Requests", ["method"], registry=registry)
        self._success = Gauge("te_request_success", "Requests that succeeded", ["method"], registry=registry)
        self._failure = Gauge("te_request_failure", "Requests that failed", ["err"], registry=registry)
        self._embed_count = Gauge("te_embed_count", "Texts embedded", registry=registry)
        self._duration = Histogram("te_request_duration", "Seconds", buckets=_SECONDS, registry=registry)
        self._tokenization = Histogram(
            "te_request_tokenization_duration", "Seconds", buckets=_SECONDS, registry=registry
        )
        self._queue = Histogram("te_request_queue_duration", "Seconds", buckets=_SECONDS, registry=registry)
        self._inference = Histogram("te_request_inference_duration", "Seconds", buckets=_SECONDS, registry=registry)
        self._length = Histogram("te_request_input_length", "Tokens of a text", buckets=_LENGTHS, registry=registry)
        self._batch_size = Histogram("te_batch_next_size", "Texts of a batch", buckets=_SIZES, registry=registry)
        self._batch_tokens = Histogram("te_batch_next_tokens", "Tokens of a batch", buckets=_LENGTHS, registry=registry)
        self._requests = Counter(
            "e5_requests", "Requests, by their answers", ["route", "model", "status"], registry=registry
        )
        self._tokens = Counter("e5_tokens", "Tokens computed", ["model"], registry=registry)
        self._truncated = Counter("e5_truncated_texts", "Texts that were cut", ["model"], registry=registry)
        self._batch_seconds = Histogram(
            "e5_batch_seconds", "Seconds of a batch", ["model"], buckets=_SECONDS, registry=registry
        )
        for name, text, value in (
            ("e5_requests_in_progress", "Requests that have begun", requests_in_progress),
            ("te_queue_size", "Requests that wait", waiting_requests),
            ("e5_queue_tokens", "Tokens that wait", waiting_tokens),
            ("e5_tokens_per_second", "Measured speed, from which Retry-After is computed", tokens_per_second),
        ):
            Gauge(name, text, registry=registry).set_function(value)

    def batch(self, model: str, n_texts: int, n_tokens: int, seconds: float) -> None:
        """Count a batch; called in the computing thread."""
        self._batch_size.observe(n_texts)
        self._batch_tokens.observe(n_tokens)
        self._batch_seconds.labels(model).observe(seconds)
        self._tokens.labels(model).inc(n_tokens)

    def request(self, finished: Finished, embedded: list[Embedded]) -> None:
        """Count a request that is over."""
        method = "batch" if sum(each.report.n_texts for each in embedded) > 1 else "single"
        self._count.labels(method).inc()
        self._requests.labels(finished.route, finished.model, str(finished.status)).inc()
        self._duration.observe(finished.seconds)
        if finished.status == 200:
            self._success.labels(method).inc()
        else:
            kind = "dropped" if finished.error is None else _TEI_ERRORS.get(finished.error, "validation")
            self._failure.labels(kind).inc()
        for each in embedded:
            self._embed_count.inc(each.report.n_texts)
            self._tokenization.observe(each.timings.tokenization)
            self._queue.observe(each.timings.queue)
            self._inference.observe(each.timings.inference)
            self._truncated.labels(finished.model).inc(len(each.report.truncated))
            for n_tokens in each.report.n_tokens.tolist():
                self._length.observe(n_tokens)

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self._registry)
