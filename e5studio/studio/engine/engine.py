"""What the Studio does, without Gradio: plain data in, frozen dataclasses out.

Layout modules call these and show what comes back; programs reach the same functions
through `e5studio.studio.api.endpoints`.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from e5studio.backends import BackendName, DType
from e5studio.cache import CachedEncoder, VectorCache, vector_keys
from e5studio.encode_report import EncodeReport
from e5studio.encoder import E5Encoder
from e5studio.errors import TextError
from e5studio.hub import find_local
from e5studio.model_pool import Lease, ModelPool
from e5studio.models import ModelMeta
from e5studio.similarity import scores as score_matrix
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.engine.prompt_modes import (
    PromptArguments,
    PromptMode,
    Side,
    prompt_arguments,
    side_labels,
    valid_prompt_mode,
)
from e5studio.studio.engine.result import FloatArray, ScoreRequest, ScoreResult, best_passages
from e5studio.studio.engine.text_box import Limits, TextList, check_limits, split_texts
from e5studio.studio.engine.zero_gpu import is_zero_gpu, on_gpu
from e5studio.studio.serving.waiting_queue import ChainedQueue, Queue, WaitingQueue
from e5studio.text_checks import checked_types

Result = TypeVar("Result")

_MAX_WAITING = 64
_MAX_INSIDE = 96
_MAX_WAITING_FOR_LOADS = 64  # so that others find room whose model is there
_MAX_WAITING_PROGRAMS = 24
_CORPORA_AT_ONCE, _MAX_WAITING_CORPORA = 2, 8
_DIAGNOSES_AT_ONCE, _MAX_WAITING_DIAGNOSES = 1, 16


@dataclass(frozen=True)
class Engine:
    """The Studio's work over a pool of models.

    Attributes:
        pool: Where encoders come from.
        limits: How much is taken at once.
        line: Of all who want a few texts embedded: one at a time.
        hall: Of all who wait for a model to be loaded, or in `line`: each holds a thread of the page.
        loading_hall: Of those among them whose model is not loaded yet.
        corpus_line: Of all who want thousands embedded, for minutes; between their batches the others' few are.
        diagnosis_line: Of all who want texts diagnosed, for some ten seconds of all cores: one at a time.
    """

    pool: ModelPool
    limits: Limits = field(default_factory=Limits)
    encode_queue: Queue = field(default_factory=lambda: WaitingQueue(1, _MAX_WAITING))
    visitor_limit: WaitingQueue = field(default_factory=lambda: WaitingQueue(_MAX_INSIDE, 0))
    load_limit: WaitingQueue = field(default_factory=lambda: WaitingQueue(_MAX_WAITING_FOR_LOADS, 0))
    corpus_queue: WaitingQueue = field(default_factory=lambda: WaitingQueue(_CORPORA_AT_ONCE, _MAX_WAITING_CORPORA))
    diagnosis_queue: WaitingQueue = field(
        default_factory=lambda: WaitingQueue(_DIAGNOSES_AT_ONCE, _MAX_WAITING_DIAGNOSES)
    )

    def for_programs(self) -> Engine:
        """The same, whose callers wait for each other first: of however many, a visitor of the page waits for one."""
        return replace(self, encode_queue=ChainedQueue(self.encode_queue, _MAX_WAITING_PROGRAMS))

    def score(
        self, request: ScoreRequest, on_stage: OnStage | None = None, *, before: Sequence[ScoreResult] = ()
    ) -> ScoreResult:
        """Score every query against every passage.

        Args:
            request: What the page holds.
            on_stage: Told what is being done.
            before: Results that the same visitor has; a text that stands in one of them is not embedded again.

        Raises:
            E5StudioError: Anything that a person can put right; the message says how.
            FullError: Too many wait already.
            StoppedError: `on_stage` asked to stop.
        """
        stage = on_stage or ignore_progress
        meta = offered(request.model)
        prompt_mode = valid_prompt_mode(meta.prompt_kind, request.prompt_mode)
        queries, passages, is_self = self._read(request, prompt_mode)
        with self.encoder(meta, stage, request.dtype, request.backend) as encoder:
            started = time.perf_counter()
            sides: list[tuple[Side, TextList]] = [("query", queries)]
            if not is_self:
                sides.append(("passage", passages))
            arguments = [
                prompt_arguments(meta.prompt_kind, prompt_mode, side, request.instruction) for side, _ in sides
            ]
            spec = encoder.spec
            vectors, reports, n_embedded = _embed_sides(
                CachedEncoder(encoder, _cache_of(before)), [box.texts for _, box in sides], arguments, stage
            )
        columns = vectors if is_self else vectors[len(queries) :]
        scores = score_matrix(vectors[: len(queries)], columns)
        seconds = time.perf_counter() - started
        best = best_passages(scores, is_self)
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
        )

    def lease(self, meta: ModelMeta, stage: OnStage, dtype: DType = "auto", backend: BackendName = "auto") -> Lease:
        """A lease of the model, fetched and loaded where it is not yet; `stage` is told of it, and may stop it."""
        short = meta.name.rsplit("/", 1)[-1]
        doing = f"Loading {short}" if find_local(meta) else f"Downloading {short}"
        stage(None, doing)
        is_there = self.pool.is_loaded(meta.name, dtype=dtype, backend=backend)
        with nullcontext() if is_there else self.load_limit.slot():
            return self.pool.lease(
                meta.name,
                dtype=dtype,
                backend=backend,
                show_progress=False,
                on_download=lambda done, total: stage(done / total, f"Downloading {short}"),
                on_wait=lambda: stage(None, doing),
            )

    @contextmanager
    def encoder(
        self, meta: ModelMeta, stage: OnStage, dtype: DType = "auto", backend: BackendName = "auto"
    ) -> Iterator[E5Encoder]:
        """The loaded model, in this work's turn.

        It is loaded before, so that nobody waits while another's model comes from the disk or the Hub.

        Raises:
            FullError: Too many wait already.
        """
        with (
            self.visitor_limit.slot(),
            self.lease(meta, stage, dtype, backend) as encoder,
            self.encode_queue.slot(stage),
        ):
            yield encoder

    @contextmanager
    def corpus_encoder(
        self, meta: ModelMeta, stage: OnStage, dtype: DType = "auto", backend: BackendName = "auto"
    ) -> Iterator[E5Encoder]:
        """As `encoder`, for thousands of texts: in the turn of this work among others of its kind."""
        with (
            self.visitor_limit.slot(),
            self.lease(meta, stage, dtype, backend) as encoder,
            self.corpus_queue.slot(stage),
        ):
            yield encoder

    @contextmanager
    def encoder_with_tokens(self, meta: ModelMeta) -> Iterator[E5Encoder]:
        """As `encoder`, on a back end that gives token vectors: the usual one, or torch where it has none."""
        with self.visitor_limit.slot():
            lease = self.lease(meta, ignore_progress)
            if not lease.encoder.has_token_embeddings:
                lease.release()
                lease = self.lease(meta, ignore_progress, backend="torch")
            with lease as encoder, self.encode_queue.slot():
                yield encoder

    def on_gpu(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """The function, run where a GPU is lent to it: as it is, or on ZeroGPU in another process, in its turn.

        Its arguments and its result must be picklable.
        """
        if not is_zero_gpu():
            return function
        lent = on_gpu(function)

        @functools.wraps(function)
        def in_turn(*args: object, **kwargs: object) -> Result:
            with self.encode_queue.slot():
                return lent(*args, **kwargs)

        return in_turn

    def check(self, texts: Sequence[str], what: str) -> None:
        """Refuse a program's list, called `what`, that holds no texts, something else, or too many.

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
        arguments: Sequence[PromptArguments],
        dtype: DType = "auto",
        backend: BackendName = "auto",
    ) -> tuple[list[FloatArray], tuple[EncodeReport, ...]]:
        """Embed lists of texts for a program, in one turn.

        Args:
            model: Name of a model of the table.
            lists: Under what errors call them.
            arguments: How the encoder is to choose each list's prompt.
            dtype: As in `E5Encoder`.
            backend: The same.

        Returns:
            For each list its vectors, a row each text, and what was read of them.

        Raises:
            E5StudioError: As `score`; an empty text is an error here, and so is an empty list.
        """
        for what, texts in lists.items():
            self.check(texts, what)
        sides = list(lists.values())
        with self.encoder(offered(model), ignore_progress, dtype, backend) as encoder:
            cached = CachedEncoder(encoder, VectorCache())
            vectors, reports, _ = _embed_sides(cached, sides, arguments, ignore_progress)
        borders = list(itertools.accumulate(map(len, sides)))[:-1]
        return np.split(vectors, borders), reports

    def embed_under(
        self, result: ScoreResult, prompts: Sequence[str], on_stage: OnStage | None = None
    ) -> list[FloatArray]:
        """Embed all texts of a result once more under each of some prompts; a vector that it has already is taken.

        Args:
            result: Of `score`.
            prompts: What stands in front of every text, queries and passages alike.
            on_stage: Told what is being done.

        Returns:
            For each prompt what `ScoreResult.vectors` would be, (n, embed_dim).

        Raises:
            E5StudioError: As `score`.
            StoppedError: `on_stage` asked to stop.
        """
        stage = on_stage or ignore_progress
        asked = result.asked
        sides = [result.queries.texts] if result.is_self else [result.queries.texts, result.passages.texts]
        vectors = []
        with self.encoder(result.meta, stage, asked.dtype, asked.backend) as encoder:
            cached = CachedEncoder(encoder, _cache_of([result]))
            for number, prompt in enumerate(prompts):

                def tell(share: float | None, words: str, before: int = number) -> None:
                    stage((before + (share or 0)) / len(prompts), words)

                arguments: list[PromptArguments] = [{"prompt": prompt}] * len(sides)
                vectors.append(_embed_sides(cached, sides, arguments, tell)[0])
        return vectors

    def load(self, model: str, on_stage: OnStage | None = None) -> None:
        """Have a model ready for the next call: loaded, and run once, which is slow the first time."""
        with self.lease(offered(model), on_stage or ignore_progress) as encoder:
            encoder.encode(["Is it warm?"], prompt="")

    def _read(self, request: ScoreRequest, prompt_mode: PromptMode) -> tuple[TextList, TextList, bool]:
        words = side_labels(prompt_mode)
        queries = split_texts(request.queries, words.left_letter, request.separator)
        passages = split_texts(request.passages, words.right_letter, request.separator)
        check_limits(queries.texts, self.limits, words.left.lower())
        check_limits(passages.texts, self.limits, words.right.lower())
        # Under one prompt for both sides, or none, the texts themselves can stand on both.
        is_self = prompt_mode in ("symmetric", "none") and not passages
        _check_there(queries, passages, is_self, words.left, words.right)
        return queries, queries if is_self else passages, is_self


def _cache_of(results: Sequence[ScoreResult]) -> VectorCache:
    """The vectors of some results; their keys tell encoders and prompts apart."""
    cache = VectorCache()
    for result in results:
        sides = [result.queries] if result.is_self else [result.queries, result.passages]
        keys = [
            key
            for side, report in zip(sides, result.reports, strict=True)
            for key in vector_keys(result.fingerprint, report.prompt.text, side.texts)
        ]
        cache.put_many(dict(zip(keys, result.vectors, strict=True)))
    return cache


def _embed_sides(
    cached: CachedEncoder, sides: Sequence[Sequence[str]], arguments: Sequence[PromptArguments], stage: OnStage
) -> tuple[FloatArray, tuple[EncodeReport, ...], int]:
    """Vectors of all sides below each other, a report of each, and how many texts were embedded."""
    prepared = [cached.encoder.prepare(texts, **prompt) for texts, prompt in zip(sides, arguments, strict=True)]
    n_new = [cached.n_missing(texts, side.report.prompt) for texts, side in zip(sides, prepared, strict=True)]
    vectors: list[FloatArray] = []
    for number, (texts, side) in enumerate(zip(sides, prepared, strict=True)):

        def on_progress(done: int, of: int, before: int = sum(n_new[:number]), share: int = n_new[number]) -> None:
            if share:
                stage((before + done / of * share) / sum(n_new), "Reading the texts")

        vectors.append(cached.embed_prepared(side, texts, on_progress=on_progress))
    return np.concatenate(vectors), tuple(side.report for side in prepared), sum(n_new)


def _check_there(queries: TextList, passages: TextList, is_self: bool, left: str, right: str) -> None:
    if not queries:
        raise TextError(f"There is nothing to read in {left}. Write one text per line, or take an example.")
    if is_self and len(queries) == 1:
        raise TextError(f"There is one text only. Write a second line in {left}, or something in {right}.")
    if not is_self and not passages:
        raise TextError(f"There is nothing to read in {right}. Write one text per line, or take an example.")
