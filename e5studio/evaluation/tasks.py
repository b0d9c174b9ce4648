"""What is evaluated on: queries with judged documents, or pairs of texts with people's scores.

Wherever the texts come from (a BEIR folder, a table, an upload), they arrive here as one of these.
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
        title: "" where it has none.
        text: Its body.
    """

    title: str
    text: str


@dataclass(frozen=True)
class RetrievalTask:
    """Queries, a corpus, and what is relevant.

    Attributes:
        name: As mteb calls it where it is one of mteb's; rules and published figures go by it.
        split: "test" and the like.
        query_ids: Ids of the queries, all of which have a relevant document.
        queries: Their texts.
        document_ids: Ids of the documents, in the order of `documents`.
        documents: Gives the documents from the beginning, as often as it is called.
        judgements: Query id -> document id -> relevance.
        skips_own_id: Whether a document that has the query's own id is passed over, as BEIR's tasks want whose
            queries stand in the corpus.
        n_unjudged: Queries left out because no document was judged relevant to them.
        source: Where it was read, for people.
        digest: Stands for the texts and judgements: equal digests, equal task.
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


@dataclass(frozen=True)
class StsTask:
    """Pairs of texts and how alike people found them.

    Attributes:
        name: As mteb calls it where it is one of mteb's.
        split: "test" and the like.
        first: The first text of each pair.
        second: The second.
        scores: People's scores, on any scale, (n_pairs,).
        source: Where it was read, for people.
        digest: Stands for the texts and scores.
    """

    name: str
    split: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: NDArray[np.float64]
    source: str = ""
    digest: str = ""


class TaskDigest:
    """Takes in texts and judgements one by one; lengths too, so that no border between two can be moved."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, *parts: str) -> None:
        """Take in some parts, in order."""
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            self._digest.update(len(raw).to_bytes(8, "little") + raw)

    def hexdigest(self) -> str:
        """32 hexadecimal digits that stand for all that was taken in."""
        return self._digest.hexdigest()[:32]
