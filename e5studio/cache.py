"""A cache of vectors, in memory and on disk, that cannot mix models, roles or precisions.

The key is the encoder's fingerprint, the prompt's text and the text: all that a vector
depends on. Only normalised vectors are kept. Several processes may share a folder.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from e5studio.backends import FloatArray
from e5studio.encoder import E5Encoder, Progress
from e5studio.errors import FileFormatError
from e5studio.prompts import Prompt
from e5studio.report import warn
from e5studio.spec import EncoderSpec
from e5studio.texts import as_texts, with_titles
from e5studio.tokenization import replace_surrogates

_alive: weakref.WeakSet[VectorCache] = weakref.WeakSet()
_left_behind: list[sqlite3.Connection] = []  # of a parent process: to close one would release the parent's locks
_SQL_VARIABLES = 900  # SQLite allows 999 in old builds


class VectorCache:
    """Vectors by key.

    Args:
        folder: Where to keep them between runs, in a SQLite file; None for memory alone.
        max_bytes: Memory for vectors; the least recently used leave first.
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

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        """The vectors that are there, by key; each of shape (embed_dim,), read-only."""
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
            missing = [key for key in keys if key not in found]
            stored = self._read(missing) if missing else {}
            self._remember(stored)
        return found | stored

    def put_many(self, vectors: dict[bytes, FloatArray]) -> None:
        """Keep vectors; all of them reach the disk, or none."""
        copies = {key: _read_only(vector.copy()) for key, vector in vectors.items()}
        with self._lock:
            self._remember(copies)
            database = self._connection()
            if database is not None:
                rows = [(key, vector.tobytes()) for key, vector in copies.items()]
                with database:
                    database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

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

    def _read(self, keys: list[bytes]) -> dict[bytes, FloatArray]:
        database = self._connection()
        if database is None:
            return {}
        rows: list[tuple[bytes, bytes]] = []
        for start in range(0, len(keys), _SQL_VARIABLES):
            part = keys[start : start + _SQL_VARIABLES]
            marks = ",".join("?" * len(part))
            rows += database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)
        return {key: _read_only(np.frombuffer(vector, np.float32)) for key, vector in rows}

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

    def _encode(self, texts: str | Iterable[str], prompt: Prompt, on_progress: Progress | None) -> FloatArray:
        listed = as_texts([texts] if isinstance(texts, str) else texts)
        # All are tokenised, which costs little, so that what was cut is told of cached texts too.
        prepared = self.encoder.prepare(listed, prompt=prompt)
        warn(prepared.report, stacklevel=3)
        spec = self.spec
        _, first_places = np.unique(prepared.rows, return_index=True)
        keys = [vector_key(spec.fingerprint, prompt.text, listed[place]) for place in first_places]
        found = self.cache.get_many(keys)
        missing = np.array([row for row, key in enumerate(keys) if key not in found], np.intp)
        if len(missing):
            computed = self.encoder.embed_rows(prepared, missing, on_progress=on_progress)
            fresh = {keys[row]: vector for row, vector in zip(missing, computed, strict=True)}
            self.cache.put_many(fresh)
            found |= fresh
        if not keys:
            return np.empty((0, spec.embed_dim), np.float32)
        vectors = np.stack([found[key] for key in keys])[prepared.rows]
        return vectors[0] if isinstance(texts, str) else vectors


def vector_key(fingerprint: str, prompt: str, text: str) -> bytes:
    """32 bytes that stand for one vector; lengths are hashed too, so that no border can be moved."""
    parts = [fingerprint.encode(), prompt.encode(), replace_surrogates(text).encode()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _open_database(folder: Path) -> sqlite3.Connection:
    if folder.exists() and not folder.is_dir():
        raise FileFormatError(f"{folder} is a file. Give a folder for the vectors.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vectors.sqlite3"
    database = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time, across processes
        with database:
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
    except sqlite3.DatabaseError as error:
        database.close()
        raise FileFormatError(f"{path} cannot be used ({error}). Delete it: it only saves work.") from error
    return database


def _read_only(vector: FloatArray) -> FloatArray:
    vector.flags.writeable = False
    return vector


def _take_over() -> None:
    for cache in _alive:
        cache._take_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_take_over)
