"""What an encoder makes of texts beside their vectors: their token ids and report, and the vectors of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray, TokenBatch
from e5studio.encode_report import EncodeReport, joined_reports
from e5studio.similarity import FloatArray


@dataclass(frozen=True)
class PreparedTexts:
    """Tokenised texts, each different one once.

    Attributes:
        batch: Token ids of the different texts.
        rows: For each text of the caller its row in `batch`, (n,).
        report: What was done to them.
    """

    batch: TokenBatch
    rows: NDArray[np.intp]
    report: EncodeReport

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def joined(cls, parts: Sequence[PreparedTexts]) -> PreparedTexts:
        """Texts that were prepared with one prompt in several calls, one after the other, as one; at least one part."""
        batch = TokenBatch(
            np.concatenate([part.batch.ids for part in parts]), np.concatenate([part.batch.lengths for part in parts])
        )
        first_rows = np.cumsum([0, *(len(part.batch) for part in parts)])
        rows = np.concatenate([first + part.rows for first, part in zip(first_rows, parts, strict=False)])
        return cls(batch, rows, joined_reports([part.report for part in parts]))

    def split(self, n_texts: Sequence[int]) -> list[PreparedTexts]:
        """The same texts as several calls: as many of the caller's texts for each as `n_texts` says."""
        ends = np.cumsum(n_texts)
        return [self._part(int(end) - n, int(end)) for n, end in zip(n_texts, ends, strict=True)]

    def _part(self, start: int, stop: int) -> PreparedTexts:
        own, rows = np.unique(self.rows[start:stop], return_inverse=True)
        return PreparedTexts(self.batch.select(own), rows, self.report.part(start, stop))


@dataclass(frozen=True)
class TokenEmbeddings:
    """The vectors of one text's tokens, before pooling.

    Attributes:
        tokens: The tokens as text, special tokens included.
        offsets: First and one-past-last character of each token, counted from the start of the
            text, (n, 2); negative in the prompt.
        in_prompt: Which tokens belong to the prompt, (n,) bool.
        special: Which tokens were added by the tokenizer, (n,) bool.
        unknown: Which tokens stand for something that the vocabulary lacks, (n,) bool.
        vectors: Shape (n, embed_dim of the model), float32, not normalised.
    """

    tokens: tuple[str, ...]
    offsets: IntArray
    in_prompt: NDArray[np.bool_]
    special: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    vectors: FloatArray
