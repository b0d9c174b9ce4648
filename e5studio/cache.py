"""A cache of vectors, in memory and on disk, that cannot mix models, prompts or precisions.

The key hashes the encoder's fingerprint, the prompt's text and the text: all that a vector
depends on. It holds normalised vectors only. Several processes may share a folder. A file
that fails later costs a warning, and never a computed vector; a damaged row is known by its digest.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from e5studio.encode_report import warn
from e5studio.encoder import E5Encoder, Progress
from e5studio.errors import CacheError, CacheWarning
from e5studio.prepared_texts import PreparedTexts
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec
from e5studio.text_checks import as_texts, with_titles
from e5studio.tokenization import replace_surrogates

_alive: weakref.WeakSet[VectorCache] = weakref.WeakSet()
_left_behind: list[sqlite3.Connection] = []  # of a parent process: to close one would release the parent's locks
_TEXTS_KEPT_AT_ONCE = 1024
_SQL_VARIABLES = 900  # SQLite allows 999 in old builds
_DIGEST_BYTES = 8


class VectorCache:
    """Vectors by key.

    Args:
        folder: Where a SQLite file stores them between runs; None for memory alone. A folder
            that can't be written is only read.
        max_bytes: Memory for vectors; drops the least recently used.

    Raises:
        CacheError: The folder can't be used.
    """

    def __init__(self, folder: str | Path | None = None, *, max_bytes: int = 256_000_000) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._vectors: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._lock = threading.Lock()
        self._folder = Path(folder) if folder is not None else None
        self._database: sqlite3.Connection | None = None
        self._connection()
        _alive.add(self)

    def get_or_compute(
        self, keys: Sequence[bytes], embed_dim: int, compute: Callable[[NDArray[np.intp]], FloatArray]
    ) -> FloatArray:
        """The vectors of all keys; computes and stores the missing ones.

        Args:
            keys: One for each row; keys may repeat.
            embed_dim: Dimensions of the vectors.
            compute: Takes rows of `keys`, one for each different missing key, and returns their vectors.

        Returns:
            Float32, (n, embed_dim).
        """
        if not keys:
            return np.empty((0, embed_dim), np.float32)
        row_of = first_rows(keys)
        vectors = self.get_many(list(row_of), embed_dim)
        missing = np.array([row for key, row in row_of.items() if key not in vectors], np.intp)
        if len(missing):
            computed = {keys[row]: vector for row, vector in zip(missing, compute(missing), strict=True)}
            self.put_many(computed)
            vectors |= computed
        return np.stack([vectors[key] for key in keys])

    def get_many(self, keys: Sequence[bytes], embed_dim: int) -> dict[bytes, FloatArray]:
        """The known vectors by key; each of shape (embed_dim,), read-only."""
        with self._lock:
            in_memory = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in in_memory:
                self._vectors.move_to_end(key)
            missing = [key for key in keys if key not in in_memory]
            stored = self._read(missing, embed_dim) if missing else {}
            self._remember(stored)
        return in_memory | stored

    def put_many(self, vectors: dict[bytes, FloatArray]) -> None:
        """Store vectors; all of them reach the disk, or none and a warning says why."""
        copies = {key: _read_only(vector.copy()) for key, vector in vectors.items()}
        with self._lock:
            self._remember(copies)
            self._write(copies)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = self._folder = None

    def _take_over(self) -> None:
        """In a forked process: SQLite allows no connection to be used in two."""
        self._lock = threading.Lock()
        if self._database is not None:
            _left_behind.append(self._database)
            self._database = None

    def _connection(self) -> sqlite3.Connection | None:
        if self._database is None and self._folder is not None:
            self._database = _open_database(self._folder)
        return self._database

    def _read(self, keys: list[bytes], embed_dim: int) -> dict[bytes, FloatArray]:
        rows: list[tuple[bytes, object]] = []
        try:
            database = self._connection()
            if database is None:
                return {}
            for start in range(0, len(keys), _SQL_VARIABLES):
                part = keys[start : start + _SQL_VARIABLES]
                marks = ",".join("?" * len(part))
                rows += database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)
        except (CacheError, sqlite3.Error) as error:
            warnings.warn(f"Vectors in {self._folder} can't be read: {error}", CacheWarning, stacklevel=4)
        sound = {key: _unpack(key, content) for key, content in rows}
        if n_damaged := sum(vector is None for vector in sound.values()):
            warnings.warn(
                f"{n_damaged:,} of {len(rows):,} vectors in {self._folder} are damaged, or were stored by an older "
                "version; they are computed anew.",
                CacheWarning,
                stacklevel=4,
            )
        return {key: vector for key, vector in sound.items() if vector is not None and len(vector) == embed_dim}

    def _write(self, vectors: dict[bytes, FloatArray]) -> None:
        rows = [(key, _pack(key, vector)) for key, vector in vectors.items()]
        try:
            database = self._connection()
            if database is not None:
                with database:
                    database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except (CacheError, sqlite3.Error) as error:
            warnings.warn(f"Vectors can't be stored in {self._folder}: {error}", CacheWarning, stacklevel=4)

    def _remember(self, vectors: dict[bytes, FloatArray]) -> None:
        for key, vector in vectors.items():
            replaced = self._vectors.pop(key, None)
            self._n_bytes += vector.nbytes - (replaced.nbytes if replaced is not None else 0)
            self._vectors[key] = vector
        while self._n_bytes > self._max_bytes:
            _, oldest = self._vectors.popitem(last=False)
            self._n_bytes -= oldest.nbytes


class CachedEncoder:
    """An encoder that computes each text once.

    Args:
        encoder: Computes what the cache lacks.
        cache: May be shared between encoders of any kind.
    """

    def __init__(self, encoder: E5Encoder, cache: VectorCache) -> None:
        self.encoder = encoder
        self.cache = cache

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's."""
        return self.encoder.spec

    def encode_query(
        self, texts: str | Iterable[str], /, *, instruction: str | None = None, on_progress: Progress | None = None
    ) -> FloatArray:
        """As `E5Encoder.encode_query`, normalised."""
        return self._encode(texts, self.encoder.resolve_prompt("query", instruction=instruction), on_progress)

    def encode_document(
        self,
        texts: str | Iterable[str],
        /,
        *,
        titles: str | Iterable[str | None] | None = None,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """As `E5Encoder.encode_document`, normalised."""
        if titles is not None:
            texts = with_titles(titles, texts)
        return self._encode(texts, self.encoder.resolve_prompt("document"), on_progress)

    def encode(
        self,
        texts: str | Iterable[str],
        /,
        *,
        prompt_name: str | None = None,
        prompt: str | Prompt | None = None,
        instruction: str | None = None,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """As `E5Encoder.encode`, normalised."""
        chosen = self.encoder.resolve_prompt(prompt_name, prompt=prompt, instruction=instruction)
        return self._encode(texts, chosen, on_progress)

    def n_missing(self, texts: Sequence[str], prompt: Prompt) -> int:
        """How many texts `embed_prepared` would run the model over, repeated ones counted."""
        keys = vector_keys(self.spec.fingerprint, prompt.text, texts)
        known = self.cache.get_many(list(first_rows(keys)), self.spec.embed_dim)
        return sum(key not in known for key in keys)

    def embed_prepared(
        self, prepared: PreparedTexts, texts: Sequence[str], /, *, on_progress: Progress | None = None
    ) -> FloatArray:
        """Run the model over the prepared texts that the cache lacks.

        Args:
            prepared: From the encoder's `prepare(texts)`.
            texts: The same texts.
            on_progress: Called with the number of different texts that have vectors, and of all different texts.

        Returns:
            Float32, (n, embed_dim), normalised, in the order of the texts.
        """
        spec, prompt = self.spec, prepared.report.prompt.text
        rows, first = np.unique(prepared.rows, return_index=True)
        keys = vector_keys(spec.fingerprint, prompt, [texts[index] for index in first])
        vectors = np.empty((len(rows), spec.embed_dim), np.float32)
        # Each part is stored once computed; parts hold texts of like length, so that batches stay as full.
        by_length = np.argsort(-prepared.batch.lengths[rows], kind="stable")
        for start in range(0, len(rows), _TEXTS_KEPT_AT_ONCE):
            part = by_length[start : start + _TEXTS_KEPT_AT_ONCE]
            compute = partial(self._compute, prepared, rows[part], _after(on_progress, start, len(rows)))
            vectors[part] = self.cache.get_or_compute([keys[index] for index in part], spec.embed_dim, compute)
            if on_progress is not None:
                on_progress(start + len(part), len(rows))
        return vectors[prepared.rows]

    def _compute(
        self,
        prepared: PreparedTexts,
        rows: NDArray[np.intp],
        on_progress: Progress | None,
        missing: NDArray[np.intp],
    ) -> FloatArray:
        return self.encoder.embed_rows(prepared, rows[missing], on_progress=on_progress)

    def _encode(self, texts: str | Iterable[str], prompt: Prompt, on_progress: Progress | None) -> FloatArray:
        listed = as_texts([texts] if isinstance(texts, str) else texts)
        # All are tokenised, which costs little, so that truncated texts warn when cached, too.
        prepared = self.encoder.prepare(listed, prompt=prompt)
        warn(prepared.report, stacklevel=3)
        vectors = self.embed_prepared(prepared, listed, on_progress=on_progress)
        return vectors[0] if isinstance(texts, str) else vectors


def _after(on_progress: Progress | None, n_before: int, n_texts: int) -> Progress | None:
    """A part's progress as the whole's."""
    if on_progress is None:
        return None
    return lambda done, _: on_progress(n_before + done, n_texts)


def vector_key(fingerprint: str, prompt: str, text: str) -> bytes:
    """32 bytes that identify one vector; lengths are hashed too, so that no text can pass for part of a prompt."""
    parts = [fingerprint.encode(), prompt.encode(), replace_surrogates(text).encode()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def vector_keys(fingerprint: str, prompt: str, texts: Iterable[str]) -> list[bytes]:
    """The key of each text under one prompt of one encoder."""
    return [vector_key(fingerprint, prompt, text) for text in texts]


def first_rows(keys: Sequence[bytes]) -> dict[bytes, int]:
    """Each different key -> its first row, ascending."""
    rows: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, row)
    return rows


def _open_database(folder: Path) -> sqlite3.Connection:
    path = folder / "vectors.sqlite3"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = not path.exists() or (os.access(path, os.W_OK) and os.access(folder, os.W_OK))
        return _open_to_write(path) if is_writable else _open_to_read(path)
    except (OSError, sqlite3.Error) as error:
        raise CacheError(
            f"Vectors can't be stored in {folder} ({error}). Give a folder that can be written; where {path.name} is "
            "damaged, delete it: it only saves work."
        ) from error


def _open_to_write(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time, across processes
        with database:
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
    except BaseException:
        database.close()
        raise
    return database


def _open_to_read(path: Path) -> sqlite3.Connection:
    # With "immutable", SQLite makes no files beside it.
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _pack(key: bytes, vector: FloatArray) -> bytes:
    """A vector as it is stored: with a digest, since SQLite gives back whatever bytes the disk does."""
    content = np.ascontiguousarray(vector, "<f4").tobytes()
    return _digest(key, content) + content


def _unpack(key: bytes, content: object) -> FloatArray | None:
    """The vector of a row, read-only; None where its value is not what was stored under this key."""
    if not isinstance(content, bytes) or _digest(key, content[_DIGEST_BYTES:]) != content[:_DIGEST_BYTES]:
        return None
    return _read_only(np.frombuffer(content[_DIGEST_BYTES:], "<f4"))


def _digest(key: bytes, content: bytes) -> bytes:
    return hashlib.sha256(key + content).digest()[:_DIGEST_BYTES]


def _read_only(vector: FloatArray) -> FloatArray:
    vector.flags.writeable = False
    return vector


def _take_over() -> None:
    for cache in _alive:
        cache._take_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_take_over)
