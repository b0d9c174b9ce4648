"""The engine: the texts of all requests, as batches by token length, through the models, one batch at a time.

A request is admitted whole or refused (`admission`), tokenised in a thread, and put into the queue (`batch_queue`). One
thread computes: it takes the next batch, whichever requests its texts are of, and hands each request its vectors when
they are complete. With nothing to do it starts at once; when a batch has just answered several requests, whose clients
are about to send their next ones, it waits 5 ms at most for these. What fails in a batch fails for the requests whose
texts it was; the others are computed again without them.

Vectors leave unnormalised: each dialect has its own wishes about that and about dimensions.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import TokenBatch
from e5studio.encode_report import EncodeReport
from e5studio.errors import NonFiniteError
from e5studio.prepared_texts import PreparedTexts
from e5studio.prompts import Prompt
from e5studio.server.admission import Admission, Ticket
from e5studio.server.batch_queue import BatchQueue, Job, Step
from e5studio.server.preparation import TextPart, estimated_tokens, token_embeddings
from e5studio.server.request_errors import as_request_error
from e5studio.server.served_models import OfferedModel, ServedModel, loaded
from e5studio.server.text_engine import Embedded, Timings, TokenVectors
from e5studio.server.tokenizing import TokenizedRequest, Tokenizing, ending
from e5studio.similarity import FloatArray

OnBatch = Callable[[str, int, int, float], None]
"""Called with the model, texts, tokens and seconds of each batch."""

_SECONDS_FOR_MORE = 0.005
_PROBE = Prompt("")

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Request(TokenizedRequest):
    """A request that waits for its vectors."""

    model: ServedModel = field(kw_only=True)
    ticket: Ticket = field(kw_only=True)
    loop: asyncio.AbstractEventLoop = field(kw_only=True)
    done: asyncio.Future[None] = field(init=False)
    jobs: list[_Job] = field(default_factory=list)
    is_dropped: bool = False

    def __post_init__(self) -> None:
        self.done = self.loop.create_future()

    def drop(self) -> None:
        """Nobody waits for it any more."""
        self.is_dropped = True
        for job in self.jobs:
            job.is_dropped = True

    def finish(self) -> None:
        """Wake who waits; in its event loop."""
        if self.done.done():
            return
        if self.error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(self.error)


@dataclass(eq=False)
class _Job(Job):
    """The texts of one part of a request."""

    request: _Request = field(kw_only=True)
    part: TextPart = field(kw_only=True)
    ready: PreparedTexts = field(kw_only=True)
    queued_at: float = field(default_factory=time.perf_counter)
    begun_at: float | None = None


class Engine:
    """Computes for all requests of a server; `start` before use, `close` at the end.

    Args:
        max_queue_tokens: Most tokens that wait.
        on_batch: Called after each batch, in the computing thread.
    """

    def __init__(self, *, max_queue_tokens: int, on_batch: OnBatch | None = None) -> None:
        self.admission = Admission(max_queue_tokens)
        self._on_batch = on_batch
        self._queue: BatchQueue[_Job] = BatchQueue()
        self._models: dict[str, ServedModel] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_suspect = False
        self._thread: threading.Thread | None = None
        self._tokenizing = Tokenizing(self._queue_tokenized)
        self._other_work = ThreadPoolExecutor(1, "token-vectors")

    @property
    def is_well(self) -> bool:
        """Whether the computing thread runs and its last batch succeeded."""
        return self._thread is not None and self._thread.is_alive() and not self._is_suspect

    @property
    def n_waiting(self) -> int:
        """Requests with texts to compute."""
        with self._changed:
            return len(self._queue)

    def start(self) -> None:
        """Start the computing thread."""
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the current batch and stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._tokenizing.close()
        self._other_work.shutdown(cancel_futures=True)

    async def embed(self, model: OfferedModel, parts: Sequence[TextPart]) -> list[Embedded]:
        """The vectors of all parts of a request; all are admitted or none.

        Raises:
            RequestError: It is refused or fails. No vectors leave then.
        """
        served = loaded(model)
        ticket = self.admission.admit(estimated_tokens(model.max_tokens, parts))
        loop = asyncio.get_running_loop()
        request = _Request(served.encoder, parts, model=served, ticket=ticket, loop=loop)
        try:
            self._tokenizing.put(request)
            await request.done
        except BaseException:
            request.drop()
            raise
        finally:
            ticket.give_back()
        return [_embedded(job) for job in request.jobs]

    async def token_vectors(self, model: OfferedModel, parts: Sequence[TextPart]) -> TokenVectors:
        """The vectors of each text's tokens.

        Raises:
            RequestError: As `embed`; or the model's backend gives none.
        """
        served = loaded(model)
        ticket = self.admission.admit(estimated_tokens(model.max_tokens, parts))
        try:
            of_parts = await asyncio.get_running_loop().run_in_executor(
                self._other_work, lambda: [token_embeddings(served.encoder, part) for part in parts]
            )
            return TokenVectors(of_parts, served.fingerprint)
        finally:
            ticket.give_back()

    async def probe(self, model: OfferedModel) -> None:
        """Embed a word, and be well again if that succeeds.

        Raises:
            RequestError: It fails.
        """
        await self.embed(model, [TextPart(["word"], _PROBE)])
        self._is_suspect = False

    def _queue_tokenized(self, requests: Sequence[_Request]) -> None:
        """Put requests into the queue at once, so that they share batches; in the thread that tokenised them."""
        good = [request for request in requests if request.error is None and not request.is_dropped]
        for request in good:
            request.ticket.correct(sum(int(each.batch.lengths.sum()) for each in request.ready))
            request.jobs = [
                _job(request, part, ready) for part, ready in zip(request.parts, request.ready, strict=True)
            ]
        with self._changed:
            for request in good:
                if self._is_closed:  # nobody computes any more
                    request.error = ending()
                    continue
                self._models[request.model.name] = request.model
                for job in request.jobs:
                    job.is_dropped = request.is_dropped
                    self._queue.put(job)
            self._changed.notify_all()
        _wake([request for request in requests if request.error is not None])

    def _run(self) -> None:
        """What the computing thread does."""
        n_answered = 0
        while (step := self._next(n_answered)) is not None:
            n_answered = self._compute(step)

    def _next(self, n_answered: int) -> Step[_Job] | None:
        """The next batch, when there is one; None at the end.

        Args:
            n_answered: Requests that the last batch answered.
        """
        with self._changed:
            if n_answered > 1:  # their clients may send more, and a larger batch is the faster one
                self._changed.wait_for(lambda: self._is_closed or self._has_enough(n_answered), _SECONDS_FOR_MORE)
            while not self._is_closed:
                step = self._queue.next()
                if step is not None:
                    return step
                self._changed.wait()
            return None

    def _has_enough(self, n_requests: int) -> bool:
        """Whether so many requests wait, or bulk to compute meanwhile."""
        n_short = self._queue.n_short
        return n_short >= n_requests or len(self._queue) > n_short

    def _compute(self, step: Step[_Job]) -> int:
        """Compute a batch; the number of requests that are complete with it."""
        model = self._models[step.model]
        begin = time.perf_counter()
        for job, _ in step.parts:
            job.begun_at = job.begun_at or begin
        try:
            batch = step.batch()
            vectors = self._vectors(model, step.parts[0][0].ready.report, batch)
        except BaseException as error:
            return self._recover(step, error)
        self._is_suspect = False
        seconds, n_tokens = time.perf_counter() - begin, int(batch.lengths.sum())
        self.admission.measure(n_tokens, seconds)
        if self._on_batch is not None:
            self._on_batch(step.model, len(batch), n_tokens, seconds)
        return self._deliver(step, vectors)

    def _vectors(self, model: ServedModel, report: EncodeReport, batch: TokenBatch) -> FloatArray:
        rows = np.arange(len(batch))
        vectors = np.empty((len(batch), model.spec.embed_dim), np.float32)
        prepared_batch = PreparedTexts(batch, rows, report)
        for indices, part in model.encoder.embed_batches(prepared_batch, rows, normalize=False):
            vectors[indices] = part
        return vectors

    def _deliver(self, step: Step[_Job], vectors: FloatArray) -> int:
        start = 0
        complete = []
        for job, rows in step.parts:
            job.vectors[rows] = vectors[start : start + len(rows)]
            start += len(rows)
            job.n_left -= len(rows)
            job.request.ticket.give_back(int(job.batch.lengths[rows].sum()))
            if all(each.n_left == 0 for each in job.request.jobs):
                complete.append(job.request)
        _wake(complete)
        return len(complete)

    def _recover(self, step: Step[_Job], error: BaseException) -> int:
        """After a batch failed: compute it again without the texts that failed it."""
        if not isinstance(error, NonFiniteError):
            self._is_suspect = True
        if len(step.parts) == 1:
            [(job, rows)] = step.parts
            self._fail(job, _of_request(error, job, rows))
            return 0
        if not isinstance(error, NonFiniteError):
            return sum(self._compute(each) for each in step.alone())
        owners = np.repeat(np.arange(len(step.parts)), [len(rows) for _, rows in step.parts])
        bad = {int(owners[index]) for index in error.indices} or {*range(len(step.parts))}
        for index in bad:
            self._compute(Step(step.model, (step.parts[index],)))  # fails with the indices of its own texts
        good = tuple(part for index, part in enumerate(step.parts) if index not in bad)
        return self._compute(Step(step.model, good)) if good else 0

    def _fail(self, job: _Job, error: BaseException) -> None:
        job.request.error = as_request_error(error, job.part.param)
        job.request.drop()
        _wake([job.request])


def _job(request: _Request, part: TextPart, ready: PreparedTexts) -> _Job:
    model = request.model
    vectors = np.empty((len(ready.batch), model.spec.embed_dim), np.float32)
    return _Job(model.name, model.encoder.limits, ready.batch, vectors, request=request, part=part, ready=ready)


def _wake(requests: Sequence[_Request]) -> None:
    """Wake requests, those of an event loop in one call."""
    for loop in {request.loop for request in requests}:
        own = [request for request in requests if request.loop is loop]
        try:
            loop.call_soon_threadsafe(_finish, own)
        except RuntimeError:  # the event loop has ended
            _log.debug("Nobody waits for a request any more")


def _finish(requests: Sequence[_Request]) -> None:
    for request in requests:
        request.finish()


def _of_request(error: BaseException, job: _Job, rows: NDArray[np.intp]) -> BaseException:
    """The error with indices of the request's texts in place of the batch's."""
    if not isinstance(error, NonFiniteError):
        return error
    bad = rows[list(error.indices)] if error.indices else rows
    return NonFiniteError(error.fact, np.flatnonzero(np.isin(job.ready.rows, bad)).tolist())


def _embedded(job: _Job) -> Embedded:
    begun = job.begun_at or job.queued_at
    timings = Timings(job.request.seconds, begun - job.queued_at, time.perf_counter() - begun)
    rows = job.ready.rows
    is_identity = np.array_equal(rows, np.arange(len(rows)))
    vectors = job.vectors if is_identity else job.vectors[rows]
    return Embedded(vectors, job.ready.report, job.request.model.fingerprint, timings)
