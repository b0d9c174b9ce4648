"""Loaded models shared by all callers in one process: each is loaded once and stays while there is memory.

Leases count who uses a model. A model without leases stays for the next caller, until
another model needs its memory. A load that fails leaves the loaded ones as they were.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Unpack

from e5studio.download_progress import DownloadProgress
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError, OutOfMemoryError
from e5studio.load import FetchedModel, LoadedModel, canonical, fetch, load_fetched, resolve
from e5studio.memory import BYTES_PER_WEIGHT
from e5studio.models import ModelMeta
from e5studio.options import EncodeOptions, EncoderArguments, ModelOptions, split_arguments

LoadStep = Literal["download", "load"]
OnWait = Callable[[LoadStep], None]
"""Called with what the caller waits for; what it raises ends the wait."""

_SECONDS_BETWEEN_CALLS = 0.2
_SECONDS_FOR_MEMORY = 60


@dataclass
class _Entry:
    """One model of the pool: being loaded while `model` is None."""

    n_leases: int = 0
    reserved: int = 0  # bytes, while it is being loaded
    step: LoadStep = "load"
    model: LoadedModel | None = None
    failure: E5StudioError | None = None  # of the latest load that failed
    loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def n_bytes(self) -> int:
        """Memory that the weights take, or will take."""
        return self.model.backend.n_bytes if self.model else self.reserved


class Lease:
    """A claim on a loaded model; released explicitly, at the end of a `with`, or with the object.

    Attributes:
        encoder: The encoder, with the caller's options.
    """

    def __init__(self, encoder: E5Encoder, pool: ModelPool, key: ModelOptions) -> None:
        self.encoder = encoder
        self._pool = pool
        # Garbage may be collected while the pool holds its lock, so the finalizer only appends to a deque.
        self._return = weakref.finalize(self, pool._returned.append, key)
        self._return.atexit = False

    def release(self) -> None:
        """Give the claim back; a second call does nothing."""
        self._return()
        self._pool._collect_released()

    def __enter__(self) -> E5Encoder:
        return self.encoder

    def __exit__(self, *_: object) -> None:
        self.release()


class ModelPool:
    """Holds loaded models.

    Args:
        memory_budget: Bytes that loaded weights may take before the models that were idle
            longest are freed, which is done before another is loaded. None frees none until a
            new one finds no memory.
    """

    def __init__(self, *, memory_budget: int | None = None) -> None:
        self._budget: float = math.inf if memory_budget is None else memory_budget
        self._entries: OrderedDict[ModelOptions, _Entry] = OrderedDict()  # least recently used first
        self._returned: deque[ModelOptions] = deque()
        self._lock = threading.Lock()

    def lease(
        self,
        model: str | Path | ModelMeta,
        *,
        on_download: DownloadProgress | None = None,
        on_wait: OnWait | None = None,
        while_loading: Callable[[], AbstractContextManager[object]] = nullcontext,
        **options: Unpack[EncoderArguments],
    ) -> Lease:
        """Get an encoder over a shared model, loading it if it is not loaded yet.

        Threads that ask for the same model at once wait for one load, and share its result. A caller with `on_wait`
        also waits, a minute at most, for memory that models leased by others take from the budget; a caller without
        goes beyond the budget.

        Args:
            model: As in `E5Encoder`; errors too.
            on_download: As in `E5Encoder`.
            on_wait: Called when a step of the load begins, and a few times a second while it lasts elsewhere.
            while_loading: Makes a context that is entered unless the model is loaded already.
            **options: The other arguments of `E5Encoder`.
        """
        return self.lease_with(*split_arguments(model, options), on_download, on_wait, while_loading)

    def lease_with(
        self,
        model: ModelOptions,
        options: EncodeOptions,
        on_download: DownloadProgress | None = None,
        on_wait: OnWait | None = None,
        while_loading: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Lease:
        """As `lease`, with the options as objects."""
        chosen = canonical(model)
        key = replace(chosen, local_files_only=False)
        entry, failure = self._claim(key)
        try:
            loaded = entry.model
            if loaded is None:
                with while_loading(), _held(entry, on_wait):
                    if entry.failure is not None and entry.failure is not failure:
                        raise entry.failure  # it failed meanwhile: those who waited would fail one after another
                    loaded = entry.model or self._load(entry, chosen, on_download, on_wait)
            encoder = E5Encoder.from_loaded(loaded, options)
        except BaseException:
            self._returned.append(key)
            self._collect_released()
            raise
        return Lease(encoder, self, key)

    def loaded(self) -> list[E5Encoder]:
        """The encoders in memory, the most recently used last."""
        self._collect_released()
        with self._lock:
            return [E5Encoder.from_loaded(model) for model in self._models()]

    def clear(self) -> None:
        """Free every model without leases."""
        self._collect_released()
        with self._lock:
            for key in self._idle():
                self._drop(key)

    def _claim(self, key: ModelOptions) -> tuple[_Entry, E5StudioError | None]:
        """The model's entry, and the error of its latest load until now."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.n_leases += 1
            self._entries.move_to_end(key)
            return entry, entry.failure

    def _load(
        self, entry: _Entry, options: ModelOptions, on_download: DownloadProgress | None, on_wait: OnWait | None
    ) -> LoadedModel:
        try:
            # Fetched before memory is freed: no model leaves for one that cannot be fetched.
            fetched = self._fetch(entry, options, on_download, on_wait)
            self._reserve(entry, fetched, on_wait)
            loaded = self._load_fetched(fetched)
            with self._lock:
                entry.model = loaded
        except E5StudioError as error:
            entry.failure = error
            raise
        finally:
            entry.reserved = 0
        self._collect_released()
        return loaded

    def _fetch(
        self, entry: _Entry, options: ModelOptions, on_download: DownloadProgress | None, on_wait: OnWait | None
    ) -> FetchedModel:
        resolved = resolve(options)
        entry.step = "load" if resolved.files else "download"
        if on_wait is not None:
            on_wait(entry.step)
        with self._lock:
            freeable = sum(model.backend.n_bytes for model in self._models() if model.backend.device == options.device)
        fetched = fetch(resolved, on_download, freeable=freeable)
        entry.step = "load"
        return fetched

    def _reserve(self, entry: _Entry, fetched: FetchedModel, on_wait: OnWait | None) -> None:
        """Make room for a model before it is loaded: free idle ones, and wait for leased ones."""
        needed = fetched.meta.n_parameters * BYTES_PER_WEIGHT[fetched.options.dtype]
        deadline = time.monotonic() + _SECONDS_FOR_MEMORY
        while not self._has_room(entry, needed) and on_wait is not None:
            if time.monotonic() > deadline:
                raise OutOfMemoryError(
                    f"{fetched.meta.name} needs {needed / 1e9:.1f} GB, and models that others use now take all memory.",
                    "Try again later, or take a model that is loaded.",
                )
            on_wait(entry.step)
            time.sleep(_SECONDS_BETWEEN_CALLS)
        entry.reserved = needed

    def _has_room(self, entry: _Entry, needed: int) -> bool:
        self._collect_released(needed)
        with self._lock:
            taken = sum(other.n_bytes for other in self._entries.values() if other is not entry)
            fits = taken == 0 or taken + needed <= self._budget  # what is larger than the budget may come alone
            if fits:
                entry.reserved = needed
            return fits

    def _load_fetched(self, fetched: FetchedModel) -> LoadedModel:
        try:
            return load_fetched(fetched)
        except OutOfMemoryError:
            with self._lock:
                if not self._models():
                    raise
            self.clear()  # idle models make way
            return load_fetched(fetched)

    def _collect_released(self, needed: int = 0) -> None:
        """Take back the leases that ended, and keep to the budget, with room for `needed` bytes more."""
        with self._lock:
            while self._returned:
                key = self._returned.popleft()
                entry = self._entries[key]
                entry.n_leases -= 1
                if entry.n_leases == 0 and entry.model is None:
                    del self._entries[key]  # the load failed for all who waited
            for key in self._idle():
                if sum(entry.n_bytes for entry in self._entries.values()) + needed <= self._budget:
                    break
                self._drop(key)

    def _take_over(self) -> None:
        """In a forked process: forget the threads of the parent, and what they were loading."""
        self._lock = threading.Lock()
        self._collect_released()
        for key in [key for key, entry in self._entries.items() if entry.model is None]:
            del self._entries[key]
        for entry in self._entries.values():
            entry.loading = threading.Lock()

    def _models(self) -> list[LoadedModel]:
        return [entry.model for entry in self._entries.values() if entry.model is not None]

    def _idle(self) -> list[ModelOptions]:
        return [key for key, entry in self._entries.items() if entry.n_leases == 0]

    def _drop(self, key: ModelOptions) -> None:
        model = self._entries.pop(key).model
        if model is not None:
            model.backend.close()


@contextmanager
def _held(entry: _Entry, on_wait: OnWait | None) -> Iterator[None]:
    lock = entry.loading
    if on_wait is None:
        lock.acquire()
    else:
        while not lock.acquire(timeout=_SECONDS_BETWEEN_CALLS):
            on_wait(entry.step)
    try:
        yield
    finally:
        lock.release()


_pool = ModelPool()


def get_model_pool() -> ModelPool:
    """The pool of this process; plug-ins and the Studio share it."""
    return _pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool._take_over)
