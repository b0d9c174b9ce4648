"""The data of the Corpus tab: texts, the setting that embeds them, and their vectors."""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from e5studio.backends import BackendName, DType
from e5studio.models import ModelMeta
from e5studio.prompts import join_title
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec
from e5studio.studio.corpus.failures import common_words
from e5studio.studio.engine.prompt_modes import PromptMode

MAX_ROWS = 50_000
"""Rows of a corpus; more are for the command line."""


@dataclass(frozen=True)
class Corpus:
    """Texts of a file, or pasted ones, that can be embedded.

    Attributes:
        source: Name of the file, or "pasted texts".
        texts: One for each row, unchanged; none is empty.
        lines: The line (in Parquet the row) on which each begins, from 1: its number wherever it is shown.
        titles: One for each row, or ""; None without a column of titles.
        text_name: The column of the texts.
        title_name: The column of the titles; None without one.
        n_missing: Rows left out because they hold no text at all (null, or no such field).
        n_empty: Rows left out because their text is empty or white space.
        bad_rows: The problem of each unreadable row; these rows are left out.
        row_word: The unit of `lines`: "line", "row" or "part".
        n_source_rows: Rows of the source, where the corpus has evenly spaced ones of them; None where it has all.
        key: Of this corpus alone.
    """

    source: str
    texts: tuple[str, ...]
    lines: tuple[int, ...]
    titles: tuple[str, ...] | None = None
    text_name: str = ""
    title_name: str | None = None
    n_missing: int = 0
    n_empty: int = 0
    bad_rows: tuple[str, ...] = ()
    row_word: str = "line"
    n_source_rows: int | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def documents(self) -> tuple[str, ...]:
        """The texts to embed: with the title in front, as E5's authors join them."""
        if self.titles is None:
            return self.texts
        return tuple(map(self.document, range(len(self))))

    def label(self, row: int) -> str:
        """The name of a row's text wherever it is shown."""
        return f"#{self.lines[row]}"

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        """The name of each text."""
        return tuple(map(self.label, range(len(self))))

    @functools.cached_property
    def common_words(self) -> frozenset[str]:
        """The words of many texts."""
        return common_words(self.documents)

    def row_of(self, label: object) -> int | None:
        """The row of the text of this name; None where there is none."""
        return self.labels.index(label) if isinstance(label, str) and label in self.labels else None

    def document(self, row: int) -> str:
        """The text to embed of one row."""
        text = self.texts[row]
        return text if self.titles is None else join_title(self.titles[row], text).strip()


@dataclass(frozen=True)
class CorpusSetting:
    """How a corpus is embedded and searched.

    Attributes:
        model: Its name.
        prompt_mode: As in the form.
        instruction: The task, for models that take one.
        dtype: Precision.
        backend: What runs the model.
    """

    model: str
    prompt_mode: PromptMode
    instruction: str = ""
    dtype: DType = "auto"
    backend: BackendName = "auto"


@dataclass(frozen=True)
class EmbeddedCorpus:
    """A corpus and its vectors.

    Attributes:
        corpus: The texts.
        setting: How they were embedded.
        meta: The model.
        spec: The exact encoder: vectors of another must not be mixed with these.
        prompt: In front of every text.
        vectors: Unit length, float32 (n, embed_dim).
        n_tokens: Tokens read of each text, prompt and special tokens counted, (n,); None for uploaded vectors.
        n_truncated: Texts longer than the model reads.
        n_embedded: Texts that this run embedded; the others' vectors were known.
        seconds: What that took, without loading the model.
        n_dropped: Tokens of each text beyond the model's limit, (n,); None for uploaded vectors.
        unknown_share: Share of each text's tokens that the vocabulary lacks, (n,) in 0..1; None for uploaded vectors.
        reads_end_spaces: Whether white space at the end of a text changes what the model reads; False if unknown.
        is_exact: Whether the vectors are known to be those that the encoder gives for the texts.
        key: Of this result alone.
    """

    corpus: Corpus
    setting: CorpusSetting
    meta: ModelMeta
    spec: EncoderSpec
    prompt: str
    vectors: FloatArray
    n_tokens: NDArray[np.int32] | None
    n_truncated: int
    n_embedded: int
    seconds: float
    n_dropped: NDArray[np.int32] | None = None
    unknown_share: FloatArray | None = None
    reads_end_spaces: bool = False
    is_exact: bool = False
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def fingerprint(self) -> str:
        """Of the encoder."""
        return self.spec.fingerprint

    @functools.cached_property
    def mean(self) -> FloatArray:
        """What all texts have in common: the mean of the vectors, (1, embed_dim)."""
        mean: FloatArray = self.vectors.mean(axis=0, keepdims=True)
        return mean
