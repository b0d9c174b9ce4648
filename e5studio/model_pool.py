"""Loaded models shared by all who ask in one process: each is loaded once and kept while there is room.

Leases say who still needs a model. What nobody needs stays for the next who asks, until
another model wants its memory. A load that fails leaves the loaded ones as they were.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from e5studio.backends import BackendName, DType, resolve_choices
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError, OutOfMemoryError, UnknownModelError
from e5studio.hub import DownloadProgress, find_local, locate
from e5studio.memory import BYTES_PER_WEIGHT, available_bytes, check_fits
from e5studio.models import ModelMeta, PromptKind, get_model_meta

_SECONDS_BETWEEN_CALLS = 0.2
_SECONDS_FOR_MEMORY = 60


@dataclass(frozen=True)
class _LoadKey:
    """All that makes loaded weights different; options of an encoder over them are not in here."""

    model: str | ModelMeta
    path: str | None
    prompt_kind: PromptKind | None
    backend: BackendName
    device: str
    dtype: DType
    revision: str | None


@dataclass
class _Entry:
    """One model of the pool: being loaded while `encoder` is None."""

    n_leases: int = 0
    reserved: int = 0  # bytes, while it is being loaded
    encoder: E5Encoder | None = None
    failure: E5StudioError | None = None  # of the latest load that failed
    loading: threading.Lock = field(default_factory=threading.Lock)


class Lease:
    """A claim on a loaded model; released explicitly, at the end of a `with`, or with the object.

    Attributes:
        encoder: The encoder, with the options asked for.
    """

    def __init__(self, encoder: E5Encoder, pool: ModelPool, key: _LoadKey) -> None:
        self.encoder = encoder
        self._pool = pool
        # Garbage is collected anywhere, also while the pool holds its lock: so only a note is left.
        self._return = weakref.finalize(self, pool._returned.append, key)
        self._return.atexit = False

    def release(self) -> None:
        """Give the claim back; a second call does nothing."""
        self._return()
        self._pool._settle()

    def __enter__(self) -> E5Encoder:
        return self.encoder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class ModelPool:
    """Keeps loaded models.

    Args:
        memory_budget: Bytes that loaded weights may take before the models that were idle
            longest are freed, which is done before another is loaded. None keeps them until a
            new one finds no memory.
    """

    def __init__(self, *, memory_budget: int | None = None) -> None:
        self._memory_budget = memory_budget
        self._entries: OrderedDict[_LoadKey, _Entry] = OrderedDict()  # least recently used first
        self._returned: deque[_LoadKey] = deque()
        self._lock = threading.Lock()

    def lease(
        self,
        model: str | Path | ModelMeta,
        *,
        path: str | Path | None = None,
        prompt_kind: PromptKind | None = None,
        backend: BackendName = "auto",
        device: str = "auto",
        dtype: DType = "auto",
        revision: str | None = None,
        max_tokens: int | None = None,
        truncate_dim: int | None = None,
        token_budget: int | None = None,
        show_progress: bool | None = None,
        local_files_only: bool = False,
        on_download: DownloadProgress | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Lease:
        """Get an encoder over a shared model, loading it where nobody has yet.

        Threads that ask for the same model at once wait for one load, and share what it comes to; meanwhile `on_wait`
        is called a few times a second, and what it raises ends the wait. Who gives one also waits, a minute at most,
        where models that others lease take the memory budget; who gives none goes beyond it. Other arguments and
        errors as `E5Encoder`.
        """
        key = _load_key(model, path, prompt_kind, backend, device, dtype, revision)
        entry, failure = self._claim(key)
        try:
            with _held(entry.loading, on_wait):
                if entry.failure is not None and entry.failure is not failure:
                    raise entry.failure  # while this one waited: all who wait would try in vain, one after another
                base = entry.encoder or self._load(entry, key, local_files_only, on_download, on_wait)
            encoder = base.with_options(
                max_tokens=max_tokens,
                truncate_dim=truncate_dim,
                token_budget=token_budget,
                show_progress=show_progress,
            )
        except BaseException:
            self._returned.append(key)
            self._settle()
            raise
        return Lease(encoder, self, key)

    def is_loaded(
        self,
        model: str | Path | ModelMeta,
        *,
        backend: BackendName = "auto",
        device: str = "auto",
        dtype: DType = "auto",
    ) -> bool:
        """Whether a lease of it, by no path and at its own revision, would wait for no load."""
        key = _load_key(model, None, None, backend, device, dtype, None)
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and entry.encoder is not None

    def loaded(self) -> list[E5Encoder]:
        """The encoders in memory, the most recently used last."""
        self._settle()
        with self._lock:
            return self._encoders()

    def clear(self) -> None:
        """Free every model that nobody leases."""
        self._settle()
        with self._lock:
            for key in self._idle():
                self._drop(key)

    def _claim(self, key: _LoadKey) -> tuple[_Entry, E5StudioError | None]:
        """The model's entry, and what its latest load failed with until now."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.n_leases += 1
            self._entries.move_to_end(key)
            return entry, entry.failure

    def _load(
        self,
        entry: _Entry,
        key: _LoadKey,
        local_files_only: bool,
        on_download: DownloadProgress | None,
        on_wait: Callable[[], None] | None,
    ) -> E5Encoder:
        try:
            if self._memory_budget is not None:
                self._refuse_hopeless(key)
                _fetch(key, local_files_only, on_download)  # nobody leaves for a model that never comes
            self._reserve(entry, key, on_wait)
            encoder = self._new_encoder(key, local_files_only, on_download)
            with self._lock:
                entry.encoder = encoder
        except E5StudioError as error:
            entry.failure = error
            raise
        finally:
            entry.reserved = 0
        self._settle()
        return encoder

    def _refuse_hopeless(self, key: _LoadKey) -> None:
        """Refuse the download of a model that would not fit even if all others left."""
        meta = _meta_of(key)
        if meta is None or key.path is not None or find_local(meta, revision=key.revision) is not None:
            return
        available = available_bytes()
        if not key.device.startswith("cpu") or available is None:
            return
        with self._lock:
            available += sum(encoder.n_bytes for encoder in self._encoders())
        check_fits(meta.name, meta.n_parameters, "float32" if key.dtype == "int8" else key.dtype, available)

    def _reserve(self, entry: _Entry, key: _LoadKey, on_wait: Callable[[], None] | None) -> None:
        """Have room for a model before it is loaded: idle ones leave for it, and leased ones are waited for."""
        needed, given_up = _weight_bytes(key), time.monotonic() + _SECONDS_FOR_MEMORY
        while not self._has_room(entry, needed) and on_wait is not None:
            if time.monotonic() > given_up:
                raise OutOfMemoryError(
                    f"{_name_of(key)} needs {needed / 1e9:.1f} GB, and models that others use now take what there is.",
                    "Try again later, or take a model that is loaded.",
                )
            on_wait()
            time.sleep(_SECONDS_BETWEEN_CALLS)
        entry.reserved = needed

    def _has_room(self, entry: _Entry, needed: int) -> bool:
        self._settle(needed)
        with self._lock:
            others = [other for other in self._entries.values() if other is not entry]
            taken = sum(other.encoder.n_bytes if other.encoder else other.reserved for other in others)
            fits = taken == 0 or taken + needed <= self._budget  # what is larger than the budget may come alone
            if fits:
                entry.reserved = needed
            return fits

    @property
    def _budget(self) -> float:
        return math.inf if self._memory_budget is None else self._memory_budget

    def _new_encoder(self, key: _LoadKey, local_files_only: bool, on_download: DownloadProgress | None) -> E5Encoder:
        try:
            return _new_encoder(key, local_files_only, on_download)
        except OutOfMemoryError:
            if not self.loaded():
                raise
            self.clear()  # what nobody needs now makes way for what somebody asks for
            return _new_encoder(key, local_files_only, on_download)

    def _settle(self, needed: int = 0) -> None:
        """Take back the leases that ended, and keep to the budget, with room for so many bytes more."""
        with self._lock:
            while self._returned:
                key = self._returned.popleft()
                entry = self._entries[key]
                entry.n_leases -= 1
                if entry.n_leases == 0 and entry.encoder is None:
                    del self._entries[key]  # the load failed for all who waited
            for key in self._idle():
                reserved = sum(entry.reserved for entry in self._entries.values())
                if sum(encoder.n_bytes for encoder in self._encoders()) + reserved + needed <= self._budget:
                    break
                self._drop(key)

    def _take_over(self) -> None:
        """In a forked process: forget the threads of the parent, and what they were loading."""
        self._lock = threading.Lock()
        self._settle()
        for key in [key for key, entry in self._entries.items() if entry.encoder is None]:
            del self._entries[key]
        for entry in self._entries.values():
            entry.loading = threading.Lock()

    def _encoders(self) -> list[E5Encoder]:
        return [entry.encoder for entry in self._entries.values() if entry.encoder is not None]

    def _idle(self) -> list[_LoadKey]:
        return [key for key, entry in self._entries.items() if entry.n_leases == 0]

    def _drop(self, key: _LoadKey) -> None:
        encoder = self._entries.pop(key).encoder
        if encoder is not None:
            encoder.close()


@contextmanager
def _held(lock: threading.Lock, on_wait: Callable[[], None] | None) -> Iterator[None]:
    if on_wait is None:
        lock.acquire()
    else:
        while not lock.acquire(timeout=_SECONDS_BETWEEN_CALLS):
            on_wait()
    try:
        yield
    finally:
        lock.release()


def _load_key(
    model: str | Path | ModelMeta,
    path: str | Path | None,
    prompt_kind: PromptKind | None,
    backend: BackendName,
    device: str,
    dtype: DType,
    revision: str | None,
) -> _LoadKey:
    backend, device, dtype = resolve_choices(backend, device=device, dtype=dtype)
    name, revision = _identity(model, revision)
    return _LoadKey(name, str(path) if path else None, prompt_kind, backend, device, dtype, revision)


def _new_encoder(key: _LoadKey, local_files_only: bool, on_download: DownloadProgress | None) -> E5Encoder:
    return E5Encoder(
        key.model,
        path=key.path,
        prompt_kind=key.prompt_kind,
        backend=key.backend,
        device=key.device,
        dtype=key.dtype,
        revision=key.revision,
        local_files_only=local_files_only,
        on_download=on_download,
    )


def _fetch(key: _LoadKey, local_files_only: bool, on_download: DownloadProgress | None) -> None:
    """Have a model of the table on this machine."""
    meta = _meta_of(key)
    if meta is not None and key.path is None:
        locate(meta, revision=key.revision, local_files_only=local_files_only, progress=on_download)


def _weight_bytes(key: _LoadKey) -> int:
    """About what a model's weights take; 0 of one that nothing is known of before it is read."""
    meta = key.model if isinstance(key.model, ModelMeta) else _meta_of(key)
    if meta is None:
        return 0
    return meta.n_parameters * (1 if key.dtype == "int8" else BYTES_PER_WEIGHT[key.dtype])


def _meta_of(key: _LoadKey) -> ModelMeta | None:
    try:
        return get_model_meta(key.model) if isinstance(key.model, str) else None
    except UnknownModelError:
        return None


def _name_of(key: _LoadKey) -> str:
    return key.model.name if isinstance(key.model, ModelMeta) else key.model


def _identity(model: str | Path | ModelMeta, revision: str | None) -> tuple[str | ModelMeta, str | None]:
    """One name and revision for what may be called in several ways, so that it is loaded once."""
    if isinstance(model, Path) or (isinstance(model, str) and model and Path(model).is_dir()):
        return str(Path(model).resolve()), revision
    try:
        meta = get_model_meta(model.name if isinstance(model, ModelMeta) else model)
    except UnknownModelError:
        return model, revision
    if isinstance(model, ModelMeta) and model != meta:
        return model, revision
    return meta.name, None if revision == meta.revision else revision


_pool: ModelPool | None = None
_pool_lock = threading.Lock()


def get_model_pool() -> ModelPool:
    """The pool of this process; plug-ins and the Studio share it."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ModelPool()
        return _pool


def _take_over() -> None:
    global _pool_lock
    _pool_lock = threading.Lock()
    if _pool is not None:
        _pool._take_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_take_over)
