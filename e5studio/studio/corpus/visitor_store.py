"""What the server keeps for one visitor, so that a page that is loaded again goes on where it stopped.

In memory, and the files that were brought on disk, under a token that nobody can guess: until the pages that opened
it are forgotten (`serving.sessions`), an hour after the last use at most. Knows neither pages nor encoders.
"""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from e5studio.files.records import NotText
from e5studio.studio.corpus.corpus import Corpus, EmbeddedCorpus
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.serving.sessions import session_now

_KEPT_SECONDS = 3600
_LEAST_PAUSE = 1  # second between two looks for what is over
_MAX_BYTES = 1_000_000_000
_EMPTY_BYTES = 4_096  # of a shelf with nothing on it, so that a million of them is not free
_TOKEN_BYTES = 24
_POINTER_BYTES = 8


class VisitorStore:
    """The table, the corpus and the embedded corpus of one visitor, the latest of each, and vectors embedded so far.

    Args:
        on_use: Called after each use, with whether memory was taken.
    """

    def __init__(self, on_use: Callable[[bool], None]) -> None:
        self.vectors = VectorStore(on_use=on_use)
        self._turn = threading.Lock()
        self._change = threading.Lock()
        self._latest_work: threading.Event | None = None
        self._on_use = on_use
        self._table: SourceTable | None = None
        self._pairs: SourceTable | None = None
        self._corpus: Corpus | None = None
        self._embedded: EmbeddedCorpus | None = None
        self._text_bytes = 0

    @property
    def table(self) -> SourceTable | None:
        """The latest file or paste."""
        return self._table

    @property
    def corpus(self) -> Corpus | None:
        """The latest choice of columns."""
        return self._corpus

    @property
    def embedded(self) -> EmbeddedCorpus | None:
        """The latest that was embedded; of an older corpus, where the latest was not embedded yet."""
        return self._embedded

    @property
    def n_bytes(self) -> int:
        """Of all that is kept, texts and vectors that several things share counted once."""
        embedded = self._embedded
        n_bytes = _EMPTY_BYTES + self._text_bytes + self.vectors.n_bytes
        if embedded is not None and not self.vectors.holds(embedded.vectors):
            n_bytes += embedded.vectors.nbytes
        return n_bytes

    @property
    def pairs(self) -> SourceTable | None:
        """The latest file of queries and answers."""
        return self._pairs

    def keep_table(self, table: SourceTable) -> None:
        """Keep a table in place of the one before, whose corpus and work end; its vectors stay while there is room."""
        self.stop_work()
        self._table, self._corpus, self._embedded = table, None, None
        self._count()

    def keep_pairs(self, pairs: SourceTable | None) -> None:
        """Keep queries and answers in place of those before."""
        self._pairs = pairs
        self._count()

    def clear(self) -> None:
        """Keep nothing any more, and stop what works on it."""
        self.stop_work()
        self._table = self._pairs = self._corpus = self._embedded = None
        self.vectors.clear()
        self._count()

    def stop_work(self) -> None:
        """Have the work that runs end at its next step."""
        if self._latest_work is not None:
            self._latest_work.set()

    def keep_corpus(self, corpus: Corpus) -> None:
        """Keep a corpus in place of the one before."""
        self._corpus = corpus
        self._count()

    def keep_embedded(self, embedded: EmbeddedCorpus) -> None:
        """Keep an embedded corpus in place of the one before."""
        self._embedded = embedded
        self._count()

    @contextmanager
    def work(self) -> Iterator[threading.Event]:
        """One work at a time on the vectors; whoever comes next stops the one before and waits until it has ended.

        A page that is loaded again begins anew while its former work does not know yet that nobody waits for it; both
        at once would embed the same texts twice.

        Yields:
            An event that is set when this work is to stop.
        """
        mine = threading.Event()
        with self._change:
            self.stop_work()
            self._latest_work = mine
        with self._turn:
            yield mine

    def _count(self) -> None:
        corpora = [self._corpus, self._embedded.corpus if self._embedded else None]
        tables = [table for table in (self._table, self._pairs) if table is not None]
        columns: list[Iterable[object]] = [column for table in tables for column in table.cells]
        columns += [column for corpus in corpora if corpus for column in _columns_of(corpus)]
        # The texts of a corpus are those of its table, the same objects.
        sizes = {id(cell): _size(cell) for column in columns for cell in column}
        self._text_bytes = sum(sizes.values()) + _POINTER_BYTES * sum(1 for _ in itertools.chain(*columns))
        self._on_use(True)


@dataclass
class _Place:
    """A shelf among the others, the files that lie on it, and the pages that opened it."""

    store: VisitorStore
    ends: float
    n_bytes: int
    files: set[Path] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


class VisitorStores:
    """Keeps the shelves of all visitors; the one unused for longest leaves where all would take too much memory.

    Args:
        max_bytes: Of all shelves. The one that grows stays even if it alone takes more.
        kept_seconds: How long after its last use one is kept at most.
        clock: Seconds that never go back.
        session: Tells which page opens a shelf now.
    """

    def __init__(
        self,
        max_bytes: int = _MAX_BYTES,
        kept_seconds: float = _KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        session: Callable[[], str | None] = session_now,
    ) -> None:
        self._max_bytes = max_bytes
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._session = session
        self._lock = threading.RLock()
        self._places: OrderedDict[str, _Place] = OrderedDict()  # least recently used first
        self._n_bytes = 0
        self._sweeper: threading.Timer | None = None

    @property
    def n_bytes(self) -> int:
        """Of all that is kept."""
        return self._n_bytes

    def open(self, token: object = None) -> tuple[str, VisitorStore]:
        """A visitor's shelf and its token; a new one where the token is none of ours, or no longer."""
        with self._lock:
            self._forget_unused()
            if not isinstance(token, str) or token not in self._places:
                token = self._add()
            self._note_use(token, is_larger=False)
            place, session = self._places[token], self._session()
            if session is not None:
                place.sessions.add(session)
            return token, place.store

    def keep_file(self, token: object, path: Path) -> tuple[str, VisitorStore]:
        """As `open`; the file, if it is one, is deleted with the shelf, unless it lies on another, too."""
        with self._lock:
            token, store = self.open(token)
            if path.is_file():
                self._places[token].files.add(path)
            return token, store

    def has_file(self, path: Path) -> bool:
        """Whether a file lies on a shelf."""
        with self._lock:
            return any(path in place.files for place in self._places.values())

    def forget(self, token: object) -> None:
        """Forget a visitor's shelf; nothing happens where there is none."""
        with self._lock:
            if isinstance(token, str) and token in self._places:
                self._places[token].store.clear()  # whatever still works for it holds the shelf
                self._drop(token)

    def forget_session(self, session: str) -> None:
        """Forget the shelves that this page opened, and no other that is still known, such as the same page anew."""
        with self._lock:
            for token, place in list(self._places.items()):
                if session in place.sessions:
                    place.sessions.remove(session)
                    if not place.sessions:
                        self.forget(token)

    def sweep(self) -> None:
        """Forget what is over; runs by itself, so that nothing stays where nobody comes any more."""
        with self._lock:
            self._sweeper = None
            self._forget_unused()
            if self._places:
                self._sweep_later()

    def _add(self) -> str:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._places[token] = _Place(VisitorStore(lambda is_larger: self._note_use(token, is_larger)), 0, 0)
        self._note_use(token, is_larger=True)
        self._sweep_later()
        return token

    def _note_use(self, token: str, is_larger: bool) -> None:
        with self._lock:
            place = self._places.get(token)
            if place is None:  # forgotten while its work goes on
                return
            self._places.move_to_end(token)
            place.ends = self._clock() + self._kept_seconds
            if is_larger:
                self._n_bytes += place.store.n_bytes - place.n_bytes
                place.n_bytes = place.store.n_bytes
                self._make_room()

    def _make_room(self) -> None:
        while self._n_bytes > self._max_bytes and len(self._places) > 1:
            self._drop(next(iter(self._places)))

    def _forget_unused(self) -> None:
        while self._places:
            token, place = next(iter(self._places.items()))
            if place.ends > self._clock():
                return
            self._drop(token)

    def _drop(self, token: str) -> None:
        place = self._places.pop(token)
        self._n_bytes -= place.n_bytes
        # Gradio keeps one copy of equal files.
        for path in place.files.difference(*(other.files for other in self._places.values())):
            with suppress(OSError):  # somebody else may be at it, and what can be forgotten goes on being forgotten
                path.unlink()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            ends = next(iter(self._places.values())).ends
            self._sweeper = threading.Timer(max(ends - self._clock(), _LEAST_PAUSE), self.sweep)
            self._sweeper.daemon = True
            self._sweeper.start()


VISITOR_STORES = VisitorStores()
"""Of this process. Visitors share it and cannot meet in it: only its own page knows a shelf's token."""


def _size(cell: object) -> int:
    """Bytes of a cell; what it is called is shared with others, what is shown of it is not."""
    return sys.getsizeof(cell) + (sys.getsizeof(cell.shown) if isinstance(cell, NotText) else 0)


def _columns_of(corpus: Corpus) -> list[tuple[str, ...]]:
    return [column for column in (corpus.texts, corpus.titles, corpus.colours) if column is not None]
