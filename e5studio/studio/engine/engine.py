"""The Studio's computations: plain data in, frozen dataclasses out.

Tabs call them and show the results; programs call them through `e5studio.studio.api.endpoints`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from e5studio.backends import BackendName, DType
from e5studio.cache import CachedEncoder
from e5studio.encoder import E5Encoder
from e5studio.errors import TextError
from e5studio.model_pool import Lease, LoadStep, ModelPool
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray
from e5studio.similarity import scores as score_matrix
from e5studio.studio.engine import queues
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.engine.prompt_modes import (
    PromptArguments,
    PromptMode,
    Side,
    prompt_arguments,
    side_labels,
    valid_prompt_mode,
)
from e5studio.studio.engine.result import EmbeddedLists, ScoreRequest, ScoreResult, best_passages
from e5studio.studio.engine.sides import (
    Prepare,
    cache_of,
    check_not_empty,
    cost_of,
    embed_sides,
    prepare_sides,
    read_box,
)
from e5studio.studio.engine.text_box import Limits, TextList, check_box, check_limits, split_texts
from e5studio.studio.engine.zero_gpu import is_zero_gpu, on_gpu
from e5studio.studio.serving.waiting_queue import ChainedQueue, Queue, WaitingQueue
from e5studio.text_checks import checked_types

Result = TypeVar("Result")

_STEPS: dict[LoadStep, str] = {"download": "Downloading", "load": "Loading"}


@dataclass(frozen=True)
class Engine:
    """The Studio's work over a pool of models.

    Attributes:
        pool: Leases encoders.
        limits: Most texts and characters of one request.
        catalog: The models that are offered.
        encode_queue: For a few texts; this and the others are explained in `engine.queues`.
        visitor_limit: For everybody who waits for a model or in `encode_queue`.
        load_limit: For those whose model is not loaded yet.
        corpus_queue: For thousands of texts.
        diagnosis_queue: For diagnoses.
    """

    pool: ModelPool
    limits: Limits = field(default_factory=Limits)
    catalog: Catalog = field(default_factory=Catalog)
    encode_queue: Queue = field(default_factory=queues.ENCODE.open)
    visitor_limit: WaitingQueue = field(default_factory=queues.VISITORS.open)
    load_limit: WaitingQueue = field(default_factory=queues.LOADS.open)
    corpus_queue: WaitingQueue = field(default_factory=queues.CORPORA.open)
    diagnosis_queue: WaitingQueue = field(default_factory=queues.DIAGNOSES.open)

    @functools.cached_property
    def for_programs(self) -> Engine:
        """The same engine for programs, which wait for each other before they wait among visitors."""
        return replace(self, encode_queue=ChainedQueue(self.encode_queue, queues.PROGRAMS.max_waiting))

    def score(
        self, request: ScoreRequest, on_stage: OnStage | None = None, *, before: Sequence[ScoreResult] = ()
    ) -> ScoreResult:
        """Score every query against every passage.

        Args:
            request: The form's values.
            on_stage: Takes the progress.
            before: Earlier results of the same visitor; their texts are not embedded again.

        Raises:
            E5StudioError: A mistake that the visitor can correct; the message says how.
            FullError: Too many wait already.
            StoppedError: `on_stage` stopped the work.
        """
        stage = on_stage or ignore_progress
        meta = self.catalog.offered(request.model)
        prompt_mode = valid_prompt_mode(meta.prompt_kind, request.prompt_mode)
        queries, passages, is_self = self._read(request, prompt_mode)
        cost = cost_of(queries.texts, () if is_self else passages.texts)
        with self.encoder(meta, stage, request.dtype, request.backend, cost) as encoder:
            started = time.perf_counter()
            sides: list[tuple[Side, TextList]] = [("query", queries)]
            if not is_self:
                sides.append(("passage", passages))
            arguments = [
                prompt_arguments(meta.prompt_kind, prompt_mode, side, request.instruction) for side, _ in sides
            ]
            spec = encoder.spec
            read = [read_box(encoder, box, prompt) for (_, box), prompt in zip(sides, arguments, strict=True)]
            queries, passages = read[0][0], read[-1][0]
            check_not_empty(queries, passages, is_self, side_labels(prompt_mode))
            vectors, reports, n_embedded = embed_sides(
                CachedEncoder(encoder, cache_of(before)),
                [box.texts for box, _ in read],
                [side for _, side in read],
                self._pausing(stage),
            )
        columns = vectors if is_self else vectors[len(queries) :]
        scores = score_matrix(vectors[: len(queries)], columns)
        seconds = time.perf_counter() - started
        best = best_passages(scores, is_self)
        equal = [each.key for each in before if each.request == request and each.spec == spec]
        return ScoreResult(
            request,
            meta,
            prompt_mode,
            queries,
            passages,
            is_self,
            scores,
            best,
            vectors,
            reports,
            spec,
            n_embedded,
            seconds,
            *equal[:1],
        )

    def lease(self, meta: ModelMeta, stage: OnStage, dtype: DType = "auto", backend: BackendName = "auto") -> Lease:
        """A lease of the model, fetched and loaded if need be; reports to `stage`, which may stop it."""
        model, files = self.catalog.loadable(meta)
        return self.pool.lease(
            model,
            **files,
            dtype=dtype,
            backend=backend,
            show_progress=False,
            on_download=lambda done, total: stage(done / total, f"{_STEPS['download']} {meta.short_name}"),
            on_wait=lambda step: stage(None, f"{_STEPS[step]} {meta.short_name}"),
            while_loading=self.load_limit.slot,
        )

    @contextmanager
    def encoder(
        self,
        meta: ModelMeta,
        stage: OnStage,
        dtype: DType = "auto",
        backend: BackendName = "auto",
        cost: float = 1.0,
    ) -> Iterator[E5Encoder]:
        """The loaded model, while it is this work's turn.

        The model is loaded before, so that the queue does not wait for a disk or the Hub. `cost` is the work's, as
        `WaitingQueue.slot` takes it.

        Raises:
            FullError: Too many wait already.
        """
        with (
            self.visitor_limit.slot(),
            self.lease(meta, stage, dtype, backend) as encoder,
            self.encode_queue.slot(stage, cost),
        ):
            yield encoder

    def corpus_encoder(
        self,
        meta: ModelMeta,
        stage: OnStage,
        dtype: DType = "auto",
        backend: BackendName = "auto",
        texts: Sequence[str] = (),
    ) -> AbstractContextManager[E5Encoder]:
        """As `encoder`, for thousands of texts, which have a queue of their own."""
        return replace(self, encode_queue=self.corpus_queue).encoder(meta, stage, dtype, backend, cost_of(texts))

    @contextmanager
    def encoder_with_tokens(self, meta: ModelMeta, stage: OnStage = ignore_progress) -> Iterator[E5Encoder]:
        """As `encoder`, on a backend that gives token vectors: the usual one, or torch where it has none."""
        with self.visitor_limit.slot():
            lease = self.lease(meta, stage)
            if not lease.encoder.has_token_embeddings:
                lease.release()
                lease = self.lease(meta, stage, backend="torch")
            with lease as encoder, self.encode_queue.slot(stage):
                yield encoder

    def on_gpu(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """The function as the page calls it: as it is, or on ZeroGPU in another process that has a GPU.

        Pass progress as `on_stage=`: another process cannot report it, nor be stopped, so that it is dropped there.
        All other arguments and the result must be picklable.
        """
        if not is_zero_gpu():
            return function
        function_on_gpu = on_gpu(function)

        @functools.wraps(function)
        def run(*args: object, on_stage: OnStage | None = None, **kwargs: object) -> Result:
            with self.encode_queue.slot(on_stage):
                return function_on_gpu(*args, **kwargs)

        return run

    def check(self, texts: Sequence[str], what: str) -> None:
        """Refuse a program's list of texts that is empty, too long, or holds other things.

        Args:
            texts: The list.
            what: Its name in error messages.

        Raises:
            TextError: It is empty. TextTypeError: It holds other things. LimitError: It is too long.
        """
        check_limits(checked_types(texts), self.limits, what)
        if not texts:
            raise TextError(f"There are no {what}: the list is empty. Give at least one text.")

    def embed(
        self,
        model: str,
        lists: Mapping[str, Sequence[str]],
        prepare: Prepare,
        dtype: DType = "auto",
        backend: BackendName = "auto",
        *,
        normalize: bool = True,
        on_stage: OnStage | None = None,
    ) -> EmbeddedLists:
        """Embed lists of texts for a program, in one slot of the queue.

        Args:
            model: Name of a model of the catalog.
            lists: The lists, by their names in error messages.
            prepare: Gives the prepared texts of each list, as `sides.with_prompts` does.
            dtype: As in `E5Encoder`.
            backend: As in `E5Encoder`.
            normalize: Scale vectors to length 1.
            on_stage: Takes the progress.

        Raises:
            E5StudioError: As `score`; an empty text or an empty list is an error here.
            StoppedError: `on_stage` stopped the work.
        """
        for what, texts in lists.items():
            self.check(texts, what)
        stage, times = on_stage or ignore_progress, [time.perf_counter()]
        meta, cost = self.catalog.offered(model), cost_of(*lists.values())
        with self.encoder(meta, stage, dtype, backend, cost) as encoder:
            times.append(time.perf_counter())
            report = self._pausing(stage)
            sides = prepare(encoder)
            times.append(time.perf_counter())
            vectors = [
                encoder.embed_prepared(
                    side, normalize=normalize, on_progress=lambda done, of: report(done / of, "Reading the texts")
                )
                for side in sides
            ]
            times.append(time.perf_counter())
            seconds = np.diff(times).tolist()
            return EmbeddedLists(vectors, tuple(side.report for side in sides), encoder.spec, seconds)

    def embed_under(
        self, result: ScoreResult, prompts: Sequence[str], on_stage: OnStage | None = None
    ) -> list[FloatArray]:
        """Embed all texts of a result under each of some prompts; vectors that the result has are reused.

        Args:
            result: A result of `score`.
            prompts: Texts in front of every text, queries and passages alike.
            on_stage: Takes the progress.

        Returns:
            For each prompt the vectors in the order of `ScoreResult.vectors`, (n, embed_dim).

        Raises:
            E5StudioError: As `score`.
            StoppedError: `on_stage` stopped the work.
        """
        stage = on_stage or ignore_progress
        request = result.request
        sides = [result.queries.texts] if result.is_self else [result.queries.texts, result.passages.texts]
        vectors = []
        cost = cost_of(*sides) * len(prompts)
        with self.encoder(result.meta, stage, request.dtype, request.backend, cost) as encoder:
            cached = CachedEncoder(encoder, cache_of([result]))
            report = self._pausing(stage)
            for number, prompt in enumerate(prompts):

                def tell(share: float | None, words: str, before: int = number) -> None:
                    report((before + (share or 0)) / len(prompts), words)

                arguments: list[PromptArguments] = [{"prompt": prompt}] * len(sides)
                prepared = prepare_sides(encoder, sides, arguments)
                vectors.append(embed_sides(cached, sides, prepared, tell)[0])
        return vectors

    def load(self, model: str, on_stage: OnStage | None = None) -> None:
        """Load a model and run it once, which is slow the first time, before a visitor needs it."""
        with self.lease(self.catalog.offered(model), on_stage or ignore_progress) as encoder:
            encoder.encode(["Is it warm?"], prompt="")

    def _pausing(self, stage: OnStage) -> OnStage:
        """Progress that lets others go first between two batches."""

        def report(share: float | None, words: str) -> None:
            self.encode_queue.pause(stage)
            stage(share, words)

        return report

    def _read(self, request: ScoreRequest, prompt_mode: PromptMode) -> tuple[TextList, TextList, bool]:
        labels = side_labels(prompt_mode)
        check_box(request.queries, self.limits, labels.left.lower())
        check_box(request.passages, self.limits, labels.right.lower())
        queries = split_texts(request.queries, labels.left_letter, request.separator)
        passages = split_texts(request.passages, labels.right_letter, request.separator)
        check_limits(queries.texts, self.limits, labels.left.lower())
        check_limits(passages.texts, self.limits, labels.right.lower())
        # Under one prompt for both sides, or none, texts can be compared with each other.
        is_self = prompt_mode in ("symmetric", "none") and not passages
        check_not_empty(queries, passages, is_self, labels)
        return queries, queries if is_self else passages, is_self
