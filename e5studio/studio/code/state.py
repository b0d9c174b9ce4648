"""The one thing that all targets are made from: what was scored, how, and what came out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from e5studio.models import Pooling, PromptKind
from e5studio.prompts import Prompt
from e5studio.studio.code.literals import json_text
from e5studio.studio.engine.prompt_modes import PromptMode
from e5studio.studio.engine.result import ScoreResult

MAX_INLINE_BYTES = 20_000
"""Texts that take more are read from the saved page: nobody reads code between them."""

PAGE_FILE = "e5-page.json"
"""As `e5studio.studio.page.save.export_page` names it."""

USUAL_ADDRESS = "http://127.0.0.1:7860/"

_BACKENDS = {"torch": "PyTorch", "openvino": "OpenVINO", "onnx": "ONNX Runtime"}

# A host name or an IP address, a port, a plain path: nothing that a shell or Python would take for more than text.
_ADDRESS = re.compile(
    r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?"
)


@dataclass(frozen=True)
class ScoredState:
    """What was scored, with all that was "auto" settled.

    Attributes:
        model: Hub id.
        revision: Commit on the Hub.
        prompt_kind: How the model's texts are introduced.
        pooling: How token vectors become one.
        max_tokens: Tokens read of a text, prompt and special tokens counted.
        dtype: Precision of the computation.
        backend: What computed.
        prompt_mode: How the texts were used.
        queries: Rows.
        passages: Columns; the rows again where `is_self`.
        is_self: The texts were compared with each other.
        query_prompt: In front of every row's text.
        passage_prompt: In front of every column's text.
        first_row: Cosine x 100 of the first row's text with every column's.
        address: Of this Studio, ending in "/".
    """

    model: str
    revision: str
    prompt_kind: PromptKind
    pooling: Pooling
    max_tokens: int
    dtype: str
    backend: str
    prompt_mode: PromptMode
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    is_self: bool
    query_prompt: Prompt
    passage_prompt: Prompt
    first_row: tuple[float, ...]
    address: str

    @property
    def computing(self) -> str:
        """Precision and what computed, for people."""
        return f"{self.dtype} by {_BACKENDS.get(self.backend, self.backend)}"

    @property
    def is_inline(self) -> bool:
        """Whether the texts are few enough to stand in the code."""
        texts = self.queries if self.is_self else self.queries + self.passages
        return len(json_text(texts).encode()) <= MAX_INLINE_BYTES


def state_of(result: ScoreResult, address: object) -> ScoredState:
    """The state of a result.

    Args:
        result: Of `Engine.score`.
        address: Where the page is open, as the browser says.
    """
    spec = result.spec
    return ScoredState(
        model=result.meta.name,
        revision=spec.revision,
        prompt_kind=spec.prompt_kind,
        pooling=spec.pooling,
        max_tokens=spec.max_tokens,
        dtype=spec.dtype,
        backend=spec.backend,
        prompt_mode=result.prompt_mode,
        queries=result.queries.texts,
        passages=result.passages.texts,
        is_self=result.is_self,
        query_prompt=result.reports[0].prompt,
        passage_prompt=result.reports[-1].prompt,
        first_row=tuple(result.scores[0].tolist()),
        address=valid_address(address),
    )


def valid_address(address: object) -> str:
    """The page's address without what follows a "?" or "#", or the usual one where it is none of http or https."""
    if not isinstance(address, str) or len(address) > 2_000:
        return USUAL_ADDRESS
    try:
        place = urlsplit(address)
    except ValueError:
        return USUAL_ADDRESS
    plain = f"{place.scheme}://{place.netloc}{place.path}"
    return plain.rstrip("/") + "/" if _ADDRESS.fullmatch(plain) else USUAL_ADDRESS
