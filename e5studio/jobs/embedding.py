"""Rows of texts to vectors: a row that cannot be embedded does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.encode_report import ReportNotes
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

    def embed(self, rows: Sequence[Row], on_share: OnShare = lambda share: None) -> EmbeddedRows:
        """Embed the rows that can be embedded, and say of the others why they cannot."""
        texts = [row.text or "" for row in rows]
        empty = find_bad_texts(texts)
        reasons = [row.detail for row in rows]
        statuses: list[RowStatus] = [
            row.problem or ("empty" if index in empty else "ok") for index, row in enumerate(rows)
        ]
        for index in empty:
            reasons[index] = reasons[index] or f"line {rows[index].line} is empty"
        while good := [index for index, status in enumerate(statuses) if status == "ok"]:
            try:
                return self._embed(rows, good, statuses, reasons, on_share)
            except (TextError, NonFiniteError) as error:
                if not error.indices:
                    raise
                is_empty = isinstance(error, TextError)
                reason = "leaves the model no token" if is_empty else "has a vector that is not finite"
                for index in (good[bad] for bad in error.indices):
                    statuses[index] = "empty" if is_empty else "failed"
                    reasons[index] = f"line {rows[index].line} {reason}"
        none = np.zeros((0, self.encoder.spec.embed_dim), np.float32)
        return EmbeddedRows(statuses, reasons, none, np.zeros(0, np.intp), np.zeros((0, 2), np.int32), 0, 0.0)

    def _embed(
        self, rows: Sequence[Row], good: list[int], statuses: list[RowStatus], reasons: list[str], on_share: OnShare
    ) -> EmbeddedRows:
        texts = [rows[index].text or "" for index in good]
        prepared = self.encoder.prepare(texts, prompt=self.prompt)
        report = prepared.report
        spans = [[(0, len(text))] for text in texts]
        if self.long != "truncate":
            for cut in report.truncated:
                spans[cut.index] = spans_to_fit(self.encoder, texts[cut.index], prompt=self.prompt)
            if report.truncated:
                parts = [text[start:end] for text, each in zip(texts, spans, strict=True) for start, end in each]
                prepared = self.encoder.prepare(parts, prompt=self.prompt)
            report = replace(report, truncated=())
        counts = [len(each) for each in spans]
        vectors = self._vectors(prepared, counts, on_share)
        self.notes.add(report, lambda index: f"line {rows[good[index]].line}")
        n_tokens, padding = int(prepared.batch.lengths.sum()), self.encoder.padding_share(prepared)
        if self.long == "pool":
            spans, counts = [[(0, len(text))] for text in texts], [1] * len(texts)
        return EmbeddedRows(
            statuses,
            reasons,
            vectors,
            np.repeat(np.array(good, np.intp), counts),
            np.array([span for each in spans for span in each], np.int32).reshape(-1, 2),
            n_tokens,
            n_tokens * padding / (1 - padding),
        )

    def _vectors(self, prepared: PreparedTexts, counts: list[int], on_share: OnShare) -> FloatArray:
        """The vectors of texts or of their parts; an error names texts."""
        try:
            vectors = self.encoder.embed_prepared(prepared, on_progress=lambda done, total: on_share(done / total))
        except NonFiniteError as error:
            text_of_part = np.repeat(np.arange(len(counts)), counts)
            raise NonFiniteError(str(error), sorted({int(text_of_part[part]) for part in error.indices})) from error
        if self.long != "pool" or len(vectors) == len(counts):
            return vectors
        return pool_parts(self.encoder, vectors, prepared.report.n_tokens, counts, prompt=self.prompt)
