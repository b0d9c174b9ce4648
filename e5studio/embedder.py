"""Shared implementation behind the LangChain and LlamaIndex classes: options in, vectors out, sync or async.

The model is shared through `model_pool`, so an embedder is light: it pickles and copies as its
options. No framework's types appear here.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import warnings
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from e5studio.backends import BackendName, DType
from e5studio.cache import VectorCache, vector_key
from e5studio.encode_report import EncodeReport, warn
from e5studio.encoder import E5Encoder, Progress
from e5studio.errors import (
    FingerprintMismatchError,
    ModelUnavailableError,
    NonFiniteError,
    PromptWarning,
    TextError,
    UnreadTextWarning,
)
from e5studio.load import four_bit_instead
from e5studio.long_documents import encode_long_documents
from e5studio.model_pool import Lease, get_model_pool
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.prompts import Prompt, PromptName, resolve_prompt_name
from e5studio.similarity import FloatArray
from e5studio.text_checks import as_texts, checked_types, with_titles

LongDocuments = Literal["truncate", "chunk-and-pool"]
OnEmpty = Literal["error", "zero"]


@dataclass(frozen=True, kw_only=True)
class EmbedderOptions(ModelOptions, EncodeOptions):
    """How an embedder embeds; `E5Encoder` says what the options that it takes as well mean.

    Attributes:
        model: A name of the table, another Hub id, or a local folder.
        path: Folder of the files, where `model` is a name.
        instruction: The task of an instruct model; the card's web search if None.
        symmetric: Put the query prompt or the instruction on documents too, as the cards ask
            for similarity, clustering and classification.
        long_documents: "truncate" reads the beginning of a document that is too long and warns;
            "chunk-and-pool" reads all of it, see `e5studio.long_documents`. Queries are always truncated.
        on_empty: A document of which the model reads nothing: "error" refuses it, "zero" gives it a vector of zeros and
            warns. An empty query is always refused.
        cache_folder: Store vectors in this folder and compute each text once. Their keys name everything that a
            vector depends on, so that models, prompts and settings may share it. A text that is cut is reported
            when its vector is computed, and not again.
    """

    model: str
    path: str | None = None
    instruction: str | None = None
    symmetric: bool = False
    long_documents: LongDocuments = "truncate"
    on_empty: OnEmpty = "error"
    cache_folder: str | None = None

    def __post_init__(self) -> None:
        for name, literal in (("long_documents", LongDocuments), ("on_empty", OnEmpty)):
            if (value := getattr(self, name)) not in get_args(literal):
                choices = " or ".join(map(repr, get_args(literal)))
                raise ValueError(f"{name}={value!r} is unknown. It is {choices}.")
        if self.cache_folder is not None and not self.cache_folder.strip():
            raise ValueError("cache_folder is empty. Name a folder, or leave it None to store no vectors.")


class Embedder:
    """Embeds queries and documents with one model; safe to share between threads and event loops.

    Args:
        options: What to embed with.
        fingerprint: Fingerprint of the documents' vectors that exist already, if any.

    Raises:
        FingerprintMismatchError: These options give other vectors now.
        E5StudioError: Whatever `E5Encoder` raises, and a prompt that the model does not take.
    """

    def __init__(self, options: EmbedderOptions, *, fingerprint: str | None = None) -> None:
        self.__setstate__((options, fingerprint))
        self._load()

    def __getstate__(self) -> tuple[EmbedderOptions, str | None]:
        return self._options, self._fingerprint

    def __setstate__(self, state: tuple[EmbedderOptions, str | None]) -> None:
        self._options, self._fingerprint = state
        self._cache: VectorCache | None = None
        self._lease: Lease | None = None
        self._lock = threading.Lock()

    @property
    def options(self) -> EmbedderOptions:
        """What it embeds with, without "auto" and without defaults that may change."""
        return self._options

    @property
    def fingerprint(self) -> str:
        """The identity of the documents' vectors: the encoder, and a prompt or pooling that is not the usual one."""
        return _fingerprint(self.encoder, self._options)

    @property
    def encoder(self) -> E5Encoder:
        """The encoder, loaded again where this was unpickled in a new process."""
        lease = self._lease
        return lease.encoder if lease is not None else self._load()

    def embed(
        self,
        texts: list[str],
        prompt_name: PromptName,
        *,
        titles: list[str | None] | None = None,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """Embed texts with the prompt of a name.

        Args:
            texts: The texts, all of them at once: the core sorts them by length.
            prompt_name: "query" or "document", or what another API calls them.
            titles: A title for each document, put in front of it with a space.
            on_progress: Called after each batch.

        Returns:
            Float32 (n, embed_dim), of length 1, in the order of the texts.
        """
        prompt_name = resolve_prompt_name(prompt_name)
        texts = checked_types(texts if titles is None else with_titles(titles, texts))
        if prompt_name == "query" or self._options.on_empty == "error":
            return self._embed(texts, prompt_name, on_progress, stacklevel=4)
        return self._embed_or_zeros(texts, on_progress)

    def _embed_or_zeros(self, texts: list[str], on_progress: Progress | None) -> FloatArray:
        """Documents; zeros for those of which nothing is read."""
        vectors = np.zeros((len(texts), self.encoder.spec.embed_dim), np.float32)
        rows = np.arange(len(texts))
        while True:
            try:
                vectors[rows] = self._embed([texts[row] for row in rows], "document", on_progress, stacklevel=5)
                break
            except TextError as error:  # first of the blank ones, then of those that leave no token
                rows = np.delete(rows, error.indices)
        if len(rows) < len(texts):
            warnings.warn(
                f"{len(texts) - len(rows):,} of {len(texts):,} documents are empty to {self.encoder.meta.name}; their "
                "vectors are zeros, which are near nothing.",
                UnreadTextWarning,
                stacklevel=4,
            )
        return vectors

    def _embed(
        self, texts: list[str], prompt_name: PromptName, on_progress: Progress | None, *, stacklevel: int
    ) -> FloatArray:
        texts = as_texts(texts)
        if self._cache is None:
            return self._compute(texts, prompt_name, on_progress, stacklevel=stacklevel + 1)
        keys = self.vector_keys(texts, prompt_name)

        def compute(missing: NDArray[np.intp]) -> FloatArray:
            try:
                return self._compute(
                    [texts[row] for row in missing], prompt_name, on_progress, stacklevel=stacklevel + 3
                )
            except (TextError, NonFiniteError) as error:
                bad = {keys[missing[index]] for index in error.indices}
                indices = [row for row, key in enumerate(keys) if key in bad]
                raise type(error)(f"{error} (Of all texts given: {indices}.)", indices) from error

        return self._cache.get_or_compute(keys, self.encoder.spec.embed_dim, compute)

    async def aembed(
        self, texts: list[str], prompt_name: PromptName, *, titles: list[str | None] | None = None
    ) -> FloatArray:
        """As `embed`, in a thread; the work ends soon after the task is cancelled."""
        is_stopped = threading.Event()

        def raise_if_stopped(done: int, total: int) -> None:
            if is_stopped.is_set():
                raise _StoppedError

        embed = functools.partial(self.embed, texts, prompt_name, titles=titles, on_progress=raise_if_stopped)
        call = functools.partial(contextvars.copy_context().run, embed)
        try:
            executor = _executor(resolve_prompt_name(prompt_name))
            return await asyncio.get_running_loop().run_in_executor(executor, call)
        except asyncio.CancelledError:
            is_stopped.set()
            raise

    def prompt(self, prompt_name: PromptName) -> Prompt:
        """The text in front of queries or of documents; other APIs' names for them are understood."""
        return _prompt(self.encoder, self._options, resolve_prompt_name(prompt_name))

    def report(self, texts: list[str], prompt_name: PromptName = "document") -> EncodeReport:
        """What embedding these texts would do to them: prompt, tokens, what is cut. Runs no model."""
        return self.encoder.prepare(texts, prompt=self.prompt(prompt_name)).report

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without prompt and special tokens: what a splitter counts."""
        return int(self.encoder.count_tokens([text])[0])

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text that `count_tokens` counts."""
        return [text[start:end] for start, end in self.encoder.token_spans(text).tolist()]

    def max_text_tokens(self, prompt_name: PromptName = "document") -> int:
        """Tokens that fit beside a prompt: what a splitter may fill."""
        return self.encoder.max_text_tokens(prompt=self.prompt(prompt_name))

    def vector_keys(self, texts: list[str], prompt_name: PromptName) -> list[bytes]:
        """For each text 32 bytes that stand for its vector under this prompt, and for no other vector."""
        identity = self.encoder.spec.fingerprint + (" chunk-and-pool" if self._pools(prompt_name) else "")
        prompt = self.prompt(prompt_name).text
        return [vector_key(identity, prompt, text) for text in checked_types(texts)]

    def _pools(self, prompt_name: PromptName) -> bool:
        return resolve_prompt_name(prompt_name) == "document" and self._options.long_documents == "chunk-and-pool"

    def _compute(
        self, texts: list[str], prompt_name: PromptName, on_progress: Progress | None, *, stacklevel: int
    ) -> FloatArray:
        encoder, prompt = self.encoder, self.prompt(prompt_name)
        if self._pools(prompt_name):
            return encode_long_documents(encoder, texts, prompt=prompt, on_progress=on_progress)
        prepared = encoder.prepare(texts, prompt=prompt)
        # These texts may be a subset: those that the cache lacks, or a framework's group. Their indices say nothing.
        warn(prepared.report, stacklevel=stacklevel, details=_DETAILS[prompt_name], has_callers_order=False)
        return encoder.embed_prepared(prepared, on_progress=on_progress)

    def _load(self) -> E5Encoder:
        with self._lock:
            if self._lease is None:
                lease = self._lease_model()
                self._check(lease.encoder)
                self._options = _resolved(self._options, lease.encoder)
                self._fingerprint = _fingerprint(lease.encoder, self._options)
                folder = self._options.cache_folder
                self._cache = None if folder is None else _vector_cache(Path(folder).expanduser().resolve())
                self._lease = lease
            return self._lease.encoder

    def _lease_model(self) -> Lease:
        try:
            return get_model_pool().lease_with(self._options, self._options)
        except ModelUnavailableError as error:
            if self._fingerprint is not None:  # vectors of other weights are no use
                raise
            self._options = four_bit_instead(self._options, error, stacklevel=5)
            return get_model_pool().lease_with(self._options, self._options)

    def _check(self, encoder: E5Encoder) -> None:
        fingerprint = _fingerprint(encoder, self._options)
        if self._fingerprint not in (None, fingerprint):
            spec = encoder.spec
            raise FingerprintMismatchError(
                f"Expected the fingerprint {self._fingerprint}, but {spec.model} at {spec.revision} has {fingerprint} "
                f"({spec.backend}, {spec.dtype}, {spec.max_tokens} tokens, {spec.embed_dim} dimensions, "
                f"symmetric={self._options.symmetric}, long_documents={self._options.long_documents!r}). Their "
                "vectors must not be mixed: bring back the model or the setting that changed, or leave the "
                "fingerprint out and embed everything anew."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embedder) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(self.__getstate__())


_DETAILS: dict[PromptName, str] = {
    "query": "Shorten them.",
    "document": "report(texts) lists them; long_documents='chunk-and-pool' reads all of a text.",
}


class _StoppedError(Exception):
    """Stops work after its task was cancelled."""


_vector_cache = functools.cache(VectorCache)


@functools.cache
def _executor(prompt_name: PromptName) -> Executor:
    """Threads apart from the event loop's default executor, which the rest of a program uses for files and DNS.

    Queries have threads of their own, so that they don't queue behind documents: a backend computes one batch at
    a time, and a query waits for one batch of a long job, not for its end. More threads would only wait.
    """
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"e5studio-{prompt_name}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.cache_clear)


def _fingerprint(encoder: E5Encoder, options: EmbedderOptions) -> str:
    prompt = _prompt(encoder, options, "document").text
    if prompt == encoder.resolve_prompt("document").text and options.long_documents == "truncate":
        return encoder.spec.fingerprint
    return vector_key(encoder.spec.fingerprint, prompt, options.long_documents).hex()[: len(encoder.spec.fingerprint)]


def _prompt(encoder: E5Encoder, options: EmbedderOptions, name: PromptName) -> Prompt:
    if name == "document" and not options.symmetric:
        return encoder.resolve_prompt("document")
    return encoder.resolve_prompt("query", instruction=options.instruction)


def _resolved(options: EmbedderOptions, encoder: E5Encoder) -> EmbedderOptions:
    """The options without "auto" and without defaults that may change later or differ elsewhere."""
    spec = encoder.spec
    prompt = _prompt(encoder, options, "query")
    encoder.check_prompt_fits(prompt)
    if prompt.is_default_instruction:
        warnings.warn(
            f"No instruction was given; queries take the model card's web-search task: {prompt.instruction!r}. "
            "Say with instruction= what your queries are for.",
            PromptWarning,
            stacklevel=5,
        )
    return replace(
        options,
        backend=cast(BackendName, spec.backend),
        dtype=cast(DType, spec.dtype),
        max_tokens=spec.max_tokens,
        revision=options.revision if spec.revision.startswith("sha256:") else spec.revision,
        instruction=prompt.instruction,
    )
