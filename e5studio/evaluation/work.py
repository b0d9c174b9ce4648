"""What an evaluation costs: texts, tokens, seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from e5studio.prepared_texts import PreparedTexts


@dataclass
class Work:
    """Cost of an evaluation.

    Attributes:
        n_texts: Texts embedded.
        n_tokens: Tokens read, prompts and special tokens counted.
        n_truncated: Texts longer than the model reads.
        n_empty: Texts without a token: documents without a text, and what the model can't read.
        seconds: By stage: "tokenising", "embedding" (the model, or the cache), "searching", "scoring".
        total_seconds: From the first text to the last figure.
    """

    n_texts: int = 0
    n_tokens: int = 0
    n_truncated: int = 0
    n_empty: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0

    def count(self, prepared: PreparedTexts, texts: Sequence[str]) -> None:
        """Add some texts that were embedded."""
        self.n_texts += len(texts)
        self.n_tokens += int(prepared.report.n_tokens.sum())
        self.n_truncated += len(prepared.report.truncated)
        self.n_empty += len(prepared.report.empty)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
