"""OpenAI's routes and our own under /v1: the server's dialects over the models of the page and the queue for programs.

It knows no Gradio, and is imported only where the routes are served. Besides the server's fields `model` comes with
`dtype` and `backend`, as on the page.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar, cast, get_args

from starlette.routing import Route

from e5studio.backends import BackendName, DType
from e5studio.encoder import E5Encoder
from e5studio.errors import (
    BackendError,
    MissingDependencyError,
    ModelUnavailableError,
    NonFiniteError,
    PromptError,
    TextError,
    UnknownModelError,
)
from e5studio.memory import is_out_of_memory
from e5studio.models import ModelMeta
from e5studio.prepared_texts import PreparedTexts
from e5studio.server.dialects import openai, own
from e5studio.server.endpoint import routes_of
from e5studio.server.fields import Body, choice, refuse, text_field
from e5studio.server.limits import Gate, Limits
from e5studio.server.preparation import TextPart, prepared, token_embeddings
from e5studio.server.request_errors import ErrorKind, RequestError, as_request_error
from e5studio.server.served_models import NamedModel, OfferedModel, find_named
from e5studio.server.service import Service
from e5studio.server.text_engine import Embedded, Timings, TokenVectors
from e5studio.studio.engine import queues
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.errors import FullError, LimitError, StoppedError
from e5studio.studio.serving.bodies import MAX_BODY_BYTES

T = TypeVar("T")

_SECONDS_TO_RETRY = 5.0  # where nobody knows better
_KINDS: tuple[tuple[type[Exception], ErrorKind], ...] = (
    (LimitError, "too_large"),
    (FullError, "overloaded"),
    (ModelUnavailableError, "unavailable"),
    (BackendError, "unsupported"),
    (MissingDependencyError, "unsupported"),
)


def v1_routes(engine: Engine) -> list[Route]:
    """The routes, for a Starlette application; the request guard stands in front of them.

    Args:
        engine: The page's.
    """
    service = Service(
        StudioModels(engine.catalog), StudioTextEngine(engine.for_programs), max_items=engine.limits.max_texts
    )
    gate = Gate(Limits(max_body_bytes=MAX_BODY_BYTES, max_concurrent=queues.V1_REQUESTS))
    return routes_of([(openai.DIALECT, openai.ROUTES), (own.DIALECT, own.ROUTES)], service, gate)


@dataclass(frozen=True, eq=False)
class StudioModel(OfferedModel):
    """A model of the page, and how a request wants it to compute."""

    dtype: DType = "auto"
    backend: BackendName = "auto"


class StudioModels:
    """The models that the page offers.

    Args:
        catalog: The page's.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __iter__(self) -> Iterator[StudioModel]:
        return map(_studio_model, self._catalog.models)

    def of_body(self, body: Body) -> NamedModel:
        """The model that a request's body names, with its `dtype` and `backend`; errors as `find`."""
        named = self.find(text_field(body, "model"))
        dtype = cast(DType, choice(body, "dtype", get_args(DType), "auto"))
        backend = cast(BackendName, choice(body, "backend", get_args(BackendName), "auto"))
        return replace(named, model=_studio_model(named.model.meta, dtype, backend))

    def find(self, name: str | None) -> NamedModel:
        """The model of a name.

        Raises:
            RequestError: The page does not offer it, or none is named.
        """
        if name is None:
            refuse("model", "`model` is missing: /v1/models lists the names.")
        try:
            return find_named(name, self._offered) or NamedModel(_studio_model(self._catalog.offered(name)), name)
        except UnknownModelError as error:
            raise RequestError("unknown_model", str(error), param="model") from error

    def _offered(self, name: str) -> StudioModel | None:
        try:
            return _studio_model(self._catalog.offered(name))
        except UnknownModelError:
            return None


class StudioTextEngine:
    """Computes one request after another, each in a thread that waits in the queue.

    Args:
        engine: That of the programs.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._embed = engine.on_gpu(engine.embed)
        self._read_tokens = engine.on_gpu(self._token_vectors)
        self._threads = ThreadPoolExecutor(queues.V1_REQUESTS, "e5studio-v1")

    async def embed(self, model: OfferedModel, parts: Sequence[TextPart]) -> list[Embedded]:
        """The vectors of all parts of a request, in one slot of the queue.

        Raises:
            RequestError: It is refused or fails.
        """
        dtype, backend = _computing(model)
        prepare = functools.partial(_prepared_parts, parts=parts)

        def work(stage: OnStage) -> list[Embedded]:
            embedded = self._embed(
                model.meta.name, _lists(parts), prepare, dtype, backend, normalize=False, on_stage=stage
            )
            queue, tokenization, inference = embedded.seconds
            timings, fingerprint = Timings(tokenization, queue, inference), embedded.spec.fingerprint
            return [
                Embedded(vectors, report, fingerprint, timings)
                for vectors, report in zip(embedded.vectors, embedded.reports, strict=True)
            ]

        return await self._in_thread(work, parts)

    async def token_vectors(self, model: OfferedModel, parts: Sequence[TextPart]) -> TokenVectors:
        """The vectors of each text's tokens, in one slot of the queue.

        Raises:
            RequestError: As `embed`.
        """
        if _computing(model) != ("auto", "auto"):
            refuse("dtype", "Token vectors are computed as usual: leave `dtype` and `backend` out.")
        return await self._in_thread(lambda stage: self._read_tokens(model.meta, parts, on_stage=stage), parts)

    def _token_vectors(
        self, meta: ModelMeta, parts: Sequence[TextPart], on_stage: OnStage = ignore_progress
    ) -> TokenVectors:
        for what, texts in _lists(parts).items():
            self._engine.check(texts, what)
        with self._engine.encoder_with_tokens(meta, on_stage) as encoder:
            return TokenVectors([token_embeddings(encoder, part) for part in parts], encoder.spec.fingerprint)

    async def _in_thread(self, work: Callable[[OnStage], T], parts: Sequence[TextPart]) -> T:
        """The result of work, which ends soon if its client goes away."""
        is_left = threading.Event()

        def stage(share: float | None, words: str) -> None:
            if is_left.is_set():
                raise StoppedError

        run = contextvars.copy_context().run  # the queue asks who the visitor is
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run, work, stage)
        except Exception as error:
            raise _request_error(error, " or ".join(part.param for part in parts)) from error
        finally:
            is_left.set()


def _studio_model(meta: ModelMeta, dtype: DType = "auto", backend: BackendName = "auto") -> StudioModel:
    return StudioModel(meta.name, meta, meta.max_tokens, dtype=dtype, backend=backend)


def _computing(model: OfferedModel) -> tuple[DType, BackendName]:
    """How a request wants a model to compute."""
    return (model.dtype, model.backend) if isinstance(model, StudioModel) else ("auto", "auto")


def _lists(parts: Sequence[TextPart]) -> dict[str, Sequence[str]]:
    """The texts by their names in error messages."""
    return {f"texts of `{part.param}`": part.texts for part in parts}


def _prepared_parts(encoder: E5Encoder, parts: Sequence[TextPart]) -> list[PreparedTexts]:
    return [prepared(encoder, part) for part in parts]


def _request_error(error: Exception, param: str) -> RequestError:
    """What a failure is to the client, in the words in which the page would say it."""
    if isinstance(error, RequestError | TextError | PromptError | NonFiniteError):
        return as_request_error(error, param)
    kind: ErrorKind = next((kind for failure, kind in _KINDS if isinstance(error, failure)), "failed")
    if is_out_of_memory(error):
        kind = "unavailable"
    seconds = error.seconds if isinstance(error, FullError) else None
    retry_after = (seconds or _SECONDS_TO_RETRY) if kind in ("overloaded", "unavailable") else None
    return RequestError(kind, message_for_visitor(error), retry_after=retry_after)
