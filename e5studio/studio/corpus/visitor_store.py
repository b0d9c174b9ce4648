"""The texts and vectors of each visitor, so that a reloaded page continues where it was.

Held in memory (uploaded files on disk) under a token that nobody can guess, until the pages that opened it are
forgotten (`serving.sessions`) or an hour after the last use. Knows neither pages nor encoders.
"""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from e5studio.files.records import NotText
from e5studio.studio.corpus.corpus import Corpus, EmbeddedCorpus
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.serving.sessions import session_now
from e5studio.studio.serving.visitors import visitor_now

_KEPT_SECONDS = 3600
_MIN_SWEEP_SECONDS = 1
_MAX_BYTES = 1_000_000_000
_EMPTY_BYTES = 4_096  # of an empty store, so that a million of them are not free
_TOKEN_BYTES = 24
_POINTER_BYTES = 8


@dataclass(frozen=True)
class SharedCorpus:
    """A table and its embedded corpus that the stores of several visitors may hold; it counts for none of them."""

    table: SourceTable
    embedded: EmbeddedCorpus


class VisitorStore:
    """One visitor's latest table, pairs, corpus and embedded corpus, and the vectors embedded so far.

    Args:
        on_use: Called after each use, with whether memory was taken.

    Attributes:
        vectors: Those embedded so far.
        table: The latest file or paste; change it and the following by the methods, which count their bytes.
        pairs: The latest file of queries and answers.
        corpus: The latest choice of columns.
        embedded: The latest embedded corpus; an older one than `corpus` until that is embedded.
        shared: The table with its vectors, where other stores may have the same; None where it is the visitor's own.
    """

    def __init__(self, on_use: Callable[[bool], None]) -> None:
        self.vectors = VectorStore(on_use=on_use)
        self._job_lock = threading.Lock()
        self._latest_lock = threading.Lock()
        self._latest_stop: threading.Event | None = None
        self._on_use = on_use
        self.table: SourceTable | None = None
        self.pairs: SourceTable | None = None
        self._pairs_of_table: SourceTable | None = None
        self.corpus: Corpus | None = None
        self.embedded: EmbeddedCorpus | None = None
        self.shared: SharedCorpus | None = None
        self._text_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of everything that only this store has; texts and vectors in several parts of it count once."""
        embedded = self.embedded
        n_bytes = _EMPTY_BYTES + self._text_bytes + self.vectors.n_bytes
        is_shared = self.shared is not None and embedded is self.shared.embedded
        if embedded is not None and not is_shared and not self.vectors.holds(embedded.vectors):
            n_bytes += embedded.vectors.nbytes
        return n_bytes

    def set_table(self, table: SourceTable, pairs: SourceTable | None = None) -> None:
        """Replace the table; drops its corpus, the pairs that came with it, and stops its jobs.

        Vectors stay while there is room, and so do pairs from a file of their own.
        """
        self.stop_job()
        if pairs is not None or self.pairs is self._pairs_of_table:
            self.pairs = pairs
        self._pairs_of_table = pairs
        self.table, self.corpus, self.embedded, self.shared = table, None, None, None
        self._count()

    def set_shared(self, shared: SharedCorpus) -> None:
        """As `set_table`, with a table that is embedded already."""
        self.set_table(shared.table)
        self.shared, self.corpus, self.embedded = shared, shared.embedded.corpus, shared.embedded
        self._count()

    def set_pairs(self, pairs: SourceTable | None) -> None:
        """Replace the queries and answers."""
        self.pairs = pairs
        self._count()

    def set_corpus(self, corpus: Corpus) -> None:
        """Replace the corpus; the embedded corpus stays."""
        if corpus is not self.corpus:
            self.corpus = corpus
            self._count()

    def set_embedded(self, embedded: EmbeddedCorpus) -> None:
        """Replace the embedded corpus."""
        self.embedded = embedded
        self._count()

    def clear(self) -> None:
        """Drop everything and stop the running job."""
        self.stop_job()
        self.table = self.pairs = self.corpus = self.embedded = self.shared = None
        self.vectors.clear()
        self._count()

    def stop_job(self) -> None:
        """Ask the running job to end at its next step."""
        if self._latest_stop is not None:
            self._latest_stop.set()

    @contextmanager
    def job(self) -> Iterator[threading.Event]:
        """Run one job on the vectors at a time: a new one stops the one before and waits until it has ended.

        A reloaded page starts over while its former job still runs; both together would embed the same texts twice.

        Yields:
            An event that is set when this job should stop.
        """
        stop = threading.Event()
        with self._latest_lock:
            self.stop_job()
            self._latest_stop = stop
        with self._job_lock:
            yield stop

    def _count(self) -> None:
        shared = self.shared
        corpora = [self.corpus, self.embedded.corpus if self.embedded else None]
        columns: list[Iterable[object]] = [
            column
            for table in (self.table, self.pairs)
            if table is not None and not (shared and table is shared.table)
            for column in table.cells
        ]
        columns += [
            column
            for corpus in corpora
            if corpus is not None and not (shared and corpus is shared.embedded.corpus)
            for column in (corpus.texts, corpus.titles)
            if column is not None
        ]
        # The texts of a corpus are those of its table, the same objects.
        sizes = {id(cell): _size(cell) for column in columns for cell in column}
        self._text_bytes = sum(sizes.values()) + _POINTER_BYTES * sum(1 for _ in itertools.chain(*columns))
        self._on_use(True)


@dataclass
class _Entry:
    """A store with the visitor who made it, its expiry, its files, and the pages that opened it."""

    store: VisitorStore
    visitor: str | None
    expires: float = 0
    n_bytes: int = 0
    files: set[Path] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


class VisitorStores:
    """The stores of all visitors; where they take too much memory, drops those of the visitor who takes most.

    Args:
        max_bytes: Of all stores. One that grows may take half of it, and all of it where it is alone.
        kept_seconds: How long after its last use a store is dropped.
        clock: Seconds that never go back.
        session: Gives the page that opens a store now.
        visitor: Gives the visitor who does.
    """

    def __init__(
        self,
        max_bytes: int = _MAX_BYTES,
        kept_seconds: float = _KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        session: Callable[[], str | None] = session_now,
        visitor: Callable[[], str | None] = visitor_now,
    ) -> None:
        self._visitor = visitor
        self._max_bytes = max_bytes
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._session = session
        self._lock = threading.RLock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._n_bytes = 0
        self._sweeper: threading.Timer | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of all stores."""
        return self._n_bytes

    def get(self, token: object) -> VisitorStore | None:
        """The store of a token, or None where it is unknown or expired. A use, so it expires later."""
        with self._lock:
            self._drop_expired()
            if not isinstance(token, str) or token not in self._entries:
                return None
            self._note_use(token, is_larger=False)
            return self._entries[token].store

    def embedded(self, token: object) -> EmbeddedCorpus | None:
        """The embedded corpus of a token, or None where there is none."""
        store = self.get(token)
        return None if store is None else store.embedded

    def open_or_create(self, token: object = None) -> tuple[str, VisitorStore]:
        """The store of a token, or a new store with a new token; it now belongs to the current page as well."""
        with self._lock:
            store = self.get(token)
            known = token if store is not None and isinstance(token, str) else self._add()
            entry, session = self._entries[known], self._session()
            if session is not None:
                entry.sessions.add(session)
            return known, entry.store

    def add_file(self, token: str, path: Path) -> None:
        """Delete this file together with the store, unless another store has it too."""
        with self._lock:
            if token in self._entries and path.is_file():
                self._entries[token].files.add(path)

    def has_file(self, path: Path) -> bool:
        """Whether a file belongs to a store."""
        with self._lock:
            return any(path in entry.files for entry in self._entries.values())

    def forget(self, token: object) -> None:
        """Drop a visitor's store, if there is one."""
        with self._lock:
            if isinstance(token, str) and token in self._entries:
                self._entries[token].store.clear()  # a running job still holds the store
                self._drop(token)

    def forget_session(self, session: str) -> None:
        """Drop the stores of this page, but those that another open page has too, such as the same page reloaded."""
        with self._lock:
            for token, entry in list(self._entries.items()):
                if session in entry.sessions:
                    entry.sessions.remove(session)
                    if not entry.sessions:
                        self.forget(token)

    def sweep(self) -> None:
        """Drop expired stores; runs on a timer, so that nothing stays where no visitor comes any more."""
        with self._lock:
            self._sweeper = None
            self._drop_expired()
            if self._entries:
                self._sweep_later()

    def _add(self) -> str:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        store = VisitorStore(lambda is_larger: self._note_use(token, is_larger))
        self._entries[token] = _Entry(store, self._visitor())
        self._note_use(token, is_larger=True)
        self._sweep_later()
        return token

    def _note_use(self, token: str, is_larger: bool) -> None:
        with self._lock:
            entry = self._entries.get(token)
            if entry is None:  # forgotten while its job runs
                return
            self._entries.move_to_end(token)
            entry.expires = self._clock() + self._kept_seconds
            if is_larger:
                self._n_bytes += entry.store.n_bytes - entry.n_bytes
                entry.n_bytes = entry.store.n_bytes
                while self._n_bytes > self._max_bytes and len(self._entries) > 1:
                    self._drop(self._most_dispensable(token))

    def _most_dispensable(self, growing: str) -> str:
        """The store to drop: of the visitor with the most bytes, so that nobody can push others out."""
        bytes_of: Counter[str | None] = Counter()
        for entry in self._entries.values():
            bytes_of[entry.visitor] += entry.n_bytes
        spared = growing if self._entries[growing].n_bytes <= self._max_bytes / 2 else None
        candidates = [token for token in self._entries if token != spared]
        # Of equals the first, which is unused for longest.
        visitor = max((self._entries[token].visitor for token in candidates), key=lambda visitor: bytes_of[visitor])
        own = [token for token in candidates if self._entries[token].visitor == visitor]
        return next((token for token in own if token != growing), growing)

    def _drop_expired(self) -> None:
        while self._entries:
            token, entry = next(iter(self._entries.items()))
            if entry.expires > self._clock():
                return
            self._drop(token)

    def _drop(self, token: str) -> None:
        entry = self._entries.pop(token)
        self._n_bytes -= entry.n_bytes
        # Gradio stores equal files once.
        for path in entry.files.difference(*(other.files for other in self._entries.values())):
            with suppress(OSError):  # another program may hold it open, and the rest must still be dropped
                path.unlink()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            expires = next(iter(self._entries.values())).expires
            self._sweeper = threading.Timer(max(expires - self._clock(), _MIN_SWEEP_SECONDS), self.sweep)
            self._sweeper.daemon = True
            self._sweeper.start()


def _size(cell: object) -> int:
    """Bytes of a cell; the name of its kind is shared with others, the text shown for it is not."""
    return sys.getsizeof(cell) + (sys.getsizeof(cell.shown) if isinstance(cell, NotText) else 0)
