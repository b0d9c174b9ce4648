"""Rows of texts to vectors: a row that cannot be embedded does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.encode_report import EncodeReport, ReportNotes
from e5studio.encoder import E5Encoder
from e5studio.errors import NonFiniteError, TextError
from e5studio.files.texts import Row
from e5studio.files.vector_block import RowStatus
from e5studio.jobs.plan import LongTexts
from e5studio.long_documents import pool_parts, spans_to_fit
from e5studio.prepared_texts import PreparedTexts
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.text_checks import find_bad_texts

_Item = TypeVar("_Item")
OnShare = Callable[[float], None]
"""Called with the share of the rows that is done, 0 to 1."""


@dataclass(frozen=True)
class EmbeddedRows:
    """What became of some rows.

    Attributes:
        statuses: Of each row.
        reasons: Of each row, in words; "" of those with a vector.
        vectors: (n, embed_dim) float32.
        parents: For each vector its row, (n,); with chunks, several vectors have one.
        spans: First and one-past-last character of what each vector was made of, (n, 2).
        n_tokens: Tokens that the model read.
        n_padding: Tokens of padding that it computed beside them.
    """

    statuses: list[RowStatus]
    reasons: list[str]
    vectors: FloatArray
    parents: NDArray[np.intp]
    spans: IntArray
    n_tokens: int
    n_padding: float


@dataclass(frozen=True)
class PreparedRows:
    """Rows on their way to the device.

    Attributes:
        rows: The rows.
        statuses: Of each row; "ok" until its vector proves otherwise.
        reasons: Of each row, in words; "" of those that are "ok".
        good: The rows that are "ok".
        spans: For each good row the characters of each of its parts; one where it is not split.
        texts: The tokens of the parts; None where no row is good.
        report: What there is to say of the good rows.
    """

    rows: Sequence[Row]
    statuses: list[RowStatus]
    reasons: list[str]
    good: list[int]
    spans: list[list[tuple[int, int]]]
    texts: PreparedTexts | None
    report: EncodeReport | None


@dataclass(frozen=True)
class RowEmbedder:
    """An encoder with all that a job asks of it.

    Attributes:
        encoder: Computes the vectors.
        prompt: The prompt in front of every text.
        long: What becomes of texts that are longer than the model reads.
        notes: Collects what a user should know of the texts.
    """

    encoder: E5Encoder
    prompt: Prompt
    long: LongTexts = "truncate"
    notes: ReportNotes = field(default_factory=ReportNotes)

    def prepare(self, rows: Sequence[Row]) -> PreparedRows:
        """Tokenise the rows that can be embedded, and say of the others why they cannot; needs no device."""
        empty = find_bad_texts([row.text or "" for row in rows])
        reasons = [row.detail for row in rows]
        statuses: list[RowStatus] = [
            row.problem or ("empty" if index in empty else "ok") for index, row in enumerate(rows)
        ]
        for index in empty:
            reasons[index] = reasons[index] or f"line {rows[index].line} is empty"
        return self._prepare(rows, statuses, reasons)

    def embed(self, prepared: PreparedRows, on_share: OnShare = lambda share: None) -> EmbeddedRows:
        """Embed rows; those whose vector is not finite are left out, and the others embedded without them."""
        while (texts := prepared.texts) is not None:
            try:
                vectors = self._vectors(prepared, texts, on_share)
            except NonFiniteError as error:
                if not error.indices:
                    raise
                _reject(prepared, error.indices, "failed", "has a vector that is not finite")
                prepared = self._prepare(prepared.rows, prepared.statuses, prepared.reasons)
                continue
            return self._embedded(prepared, texts, vectors)
        none = np.zeros((0, self.encoder.spec.embed_dim), np.float32)
        no_spans = np.zeros((0, 2), np.int32)
        return EmbeddedRows(prepared.statuses, prepared.reasons, none, np.zeros(0, np.intp), no_spans, 0, 0.0)

    def _prepare(self, rows: Sequence[Row], statuses: list[RowStatus], reasons: list[str]) -> PreparedRows:
        while good := [index for index, status in enumerate(statuses) if status == "ok"]:
            try:
                texts, spans, report = self._tokenized([rows[index].text or "" for index in good])
            except TextError as error:
                if not error.indices:
                    raise
                unread = PreparedRows(rows, statuses, reasons, good, [], None, None)
                _reject(unread, error.indices, "empty", "leaves the model no token")
                continue
            return PreparedRows(rows, statuses, reasons, good, spans, texts, report)
        return PreparedRows(rows, statuses, reasons, [], [], None, None)

    def _tokenized(self, texts: list[str]) -> tuple[PreparedTexts, list[list[tuple[int, int]]], EncodeReport]:
        """The tokens of texts or of their parts, the characters of the parts, and a report on the texts."""
        prepared = self.encoder.prepare(texts, prompt=self.prompt)
        report = prepared.report
        spans = [[(0, len(text))] for text in texts]
        if self.long == "truncate":
            return prepared, spans, report
        for cut in report.truncated:
            spans[cut.index] = spans_to_fit(self.encoder, texts[cut.index], prompt=self.prompt)
        if report.truncated:
            parts = [text[start:end] for text, each in zip(texts, spans, strict=True) for start, end in each]
            prepared = self.encoder.prepare(parts, prompt=self.prompt)
        return prepared, spans, replace(report, truncated=())

    def _vectors(self, prepared: PreparedRows, texts: PreparedTexts, on_share: OnShare) -> FloatArray:
        """The vectors of texts or of their parts; an error names texts."""
        counts = [len(each) for each in prepared.spans]
        try:
            vectors = self.encoder.embed_prepared(texts, on_progress=lambda done, total: on_share(done / total))
        except NonFiniteError as error:
            text_of_part = np.repeat(np.arange(len(counts)), counts)
            raise NonFiniteError(str(error), sorted({int(text_of_part[part]) for part in error.indices})) from error
        if self.long != "pool" or len(vectors) == len(counts):
            return vectors
        return pool_parts(self.encoder, vectors, texts.report.n_tokens, counts, prompt=self.prompt)

    def _embedded(self, prepared: PreparedRows, texts: PreparedTexts, vectors: FloatArray) -> EmbeddedRows:
        rows, good, spans = prepared.rows, prepared.good, prepared.spans
        if prepared.report is not None:
            self.notes.add(prepared.report, lambda index: f"line {rows[good[index]].line}")
        n_tokens, padding = int(texts.batch.lengths.sum()), self.encoder.padding_share(texts)
        if self.long == "pool":
            spans = [[(0, len(rows[index].text or ""))] for index in good]
        return EmbeddedRows(
            prepared.statuses,
            prepared.reasons,
            vectors,
            np.repeat(np.array(good, np.intp), [len(each) for each in spans]),
            np.array([span for each in spans for span in each], np.int32).reshape(-1, 2),
            n_tokens,
            n_tokens * padding / (1 - padding),
        )


def _reject(prepared: PreparedRows, indices: Sequence[int], status: RowStatus, reason: str) -> None:
    """Give good rows another status."""
    for index in (prepared.good[bad] for bad in indices):
        prepared.statuses[index] = status
        prepared.reasons[index] = f"line {prepared.rows[index].line} {reason}"


def one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items; while one is used, a thread makes the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="e5studio-ahead") as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item
