"""Evaluation tasks: queries with judged documents, or pairs of texts with people's scores.

All sources of texts (a BEIR folder, a table, an upload) become one of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Document(NamedTuple):
    """One document of a corpus.

    Attributes:
        title: "" if it has none.
        text: Its body.
    """

    title: str
    text: str


@dataclass(frozen=True)
class RetrievalTask:
    """Queries, a corpus, and relevance judgements.

    Attributes:
        name: mteb's name if mteb has the task; rules and published scores depend on it.
        split: "test" and the like.
        query_ids: Ids of the queries, all of which have a relevant document.
        queries: Their texts.
        document_ids: Ids of the documents, in the order of `documents`.
        documents: Returns a new iterator over the documents on each call.
        judgements: Query id -> document id -> relevance.
        skips_own_id: Whether to skip a document with the query's id, as in BEIR's tasks whose queries are in the
            corpus.
        n_unjudged: Queries left out because no document was judged relevant to them.
        source: Where it was read, for messages.
        digest: Hash of the texts and judgements.
    """

    name: str
    split: str
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    document_ids: tuple[str, ...]
    documents: Callable[[], Iterator[Document]]
    judgements: Mapping[str, Mapping[str, int]]
    skips_own_id: bool = False
    n_unjudged: int = 0
    source: str = ""
    digest: str = ""

    @property
    def n_texts(self) -> int:
        """Number of queries and documents."""
        return len(self.queries) + len(self.document_ids)


@dataclass(frozen=True)
class StsTask:
    """Pairs of texts and how alike people found them.

    Attributes:
        name: mteb's name if mteb has the task.
        split: "test" and the like.
        first: The first text of each pair.
        second: The second.
        scores: People's scores, on any scale, (n_pairs,).
        source: Where it was read, for messages.
        digest: Hash of the texts and scores.
    """

    name: str
    split: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: NDArray[np.float64]
    source: str = ""
    digest: str = ""

    @property
    def n_texts(self) -> int:
        """Two of each pair."""
        return 2 * len(self.first)


class TaskDigest:
    """Hash over texts and judgements, and their lengths, so that the borders between them count."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, *parts: str) -> None:
        """Add some parts, in order."""
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            self._digest.update(len(raw).to_bytes(8, "little") + raw)

    def hexdigest(self) -> str:
        """32 hexadecimal digits of the hash."""
        return self._digest.hexdigest()[:32]
