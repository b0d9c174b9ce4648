"""What became of the rows of a shard, and of a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from e5studio.files.vector_block import RowStatus


@dataclass(frozen=True)
class Reject:
    """A row without a vector.

    Attributes:
        row: Its number in the corpus, from 0.
        file: The file it stands in.
        line: Its line there, from 1; in Parquet its row.
        status: "empty", "missing", "bad_type", "bad_row" or "failed".
        reason: The same in words.
    """

    row: int
    file: str
    line: int
    status: RowStatus
    reason: str


@dataclass(frozen=True)
class ShardRecord:
    """What a shard holds.

    Attributes:
        plan: Digest of the plan that made it.
        shard: Its number.
        size: Bytes of the shard.
        rows: Rows of the corpus that have a vector.
        vectors: Rows written; more than `rows` where long texts become several.
        rejected: Number of rejected rows by their status.
        tokens: Tokens that the model read.
        sha256: Digest of the shard.
        rejects_sha256: Digest of the file of rejects; None where there is none.
        seconds: How long it took.
    """

    plan: str
    shard: int
    size: int
    rows: int
    vectors: int
    rejected: dict[str, int]
    tokens: int
    sha256: str
    rejects_sha256: str | None
    seconds: float

    @property
    def n_rejected(self) -> int:
        """All rejected rows."""
        return sum(self.rejected.values())


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        done: Shards that are done.
        rows: Rows that have a vector.
        vectors: Rows written.
        tokens: Tokens read.
        rejected: Rejected rows by their status.
    """

    done: int
    rows: int
    vectors: int
    tokens: int
    rejected: Counter[str]

    @classmethod
    def of(cls, records: Iterable[ShardRecord]) -> Progress:
        """The sum of records."""
        done = rows = vectors = tokens = 0
        rejected: Counter[str] = Counter()
        for record in records:
            done, rows, vectors, tokens = done + 1, rows + record.rows, vectors + record.vectors, tokens + record.tokens
            rejected.update(record.rejected)
        return cls(done, rows, vectors, tokens, rejected)
