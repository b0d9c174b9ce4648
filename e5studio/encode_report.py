"""The report of a call: its prompt, what was cut off, what was unknown; as facts, as sentences, as warnings."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.errors import E5StudioWarning, PromptWarning, TruncationWarning
from e5studio.prompts import Prompt

NoteKind = Literal["truncated", "unknown", "already_prompted", "replaced_surrogates", "default_instruction"]
TextName = Callable[[int], str]

NOTEWORTHY_UNKNOWN_SHARE = 0.05
_MAX_NAMES = 8
_SENTENCES: dict[NoteKind, str] = {
    "truncated": "{many} are longer than the {n_read:,} tokens that {model} reads; their ends were left out{which}.",
    "unknown": "{many} have tokens that {model} does not know{which}.",
    "already_prompted": "{many} already begin with a prompt{which}, and {prompt!r} was put in front of it.",
    "replaced_surrogates": "{many} have broken characters, which were replaced by \ufffd (U+FFFD).",
    "default_instruction": "No instruction was given; the model card's web-search task was used: {instruction!r}.",
}
_WARNINGS: dict[NoteKind, type[E5StudioWarning]] = {
    "truncated": TruncationWarning,
    "already_prompted": PromptWarning,
    "default_instruction": PromptWarning,
}


@dataclass(frozen=True)
class Truncation:
    """One text that was longer than the model reads.

    Attributes:
        index: Its index in the caller's list.
        n_read: Number of tokens read, including prompt and special tokens.
        n_dropped: Number of tokens not read.
        exact: Whether `n_dropped` is exact; if not, at least so many were dropped.
    """

    index: int
    n_read: int
    n_dropped: int
    exact: bool


@dataclass(frozen=True)
class EncodeReport:
    """What was done to the texts of one call.

    Attributes:
        model: Name of the model.
        prompt: The text put in front of each text, and its origin.
        backend: Name of the backend.
        device: Device of the backend.
        dtype: Precision of the backend.
        n_texts: Number of texts.
        n_tokens: Tokens read of each text, including prompt and special tokens, (n,) int32.
        truncated: The texts that were longer than the model reads.
        unknown_share: Share of each text's tokens that are not in the vocabulary, (n,) float32 in 0..1.
        n_replaced_surrogates: Number of texts in which a lone surrogate was replaced by U+FFFD.
        already_prompted: Indices of the texts that begin with a prompt themselves.
    """

    model: str
    prompt: Prompt
    backend: str
    device: str
    dtype: str
    n_texts: int
    n_tokens: IntArray
    truncated: tuple[Truncation, ...]
    unknown_share: NDArray[np.float32]
    n_replaced_surrogates: int
    already_prompted: tuple[int, ...]


def joined_reports(reports: Sequence[EncodeReport]) -> EncodeReport:
    """One report on the texts of several calls with the same settings; at least one report."""
    first_indices = list(itertools.accumulate((report.n_texts for report in reports), initial=0))
    parts = list(zip(first_indices, reports, strict=False))
    return replace(
        reports[0],
        n_texts=first_indices[-1],
        n_tokens=np.concatenate([report.n_tokens for report in reports]),
        truncated=tuple(replace(cut, index=first + cut.index) for first, report in parts for cut in report.truncated),
        unknown_share=np.concatenate([report.unknown_share for report in reports]),
        n_replaced_surrogates=sum(report.n_replaced_surrogates for report in reports),
        already_prompted=tuple(first + index for first, report in parts for index in report.already_prompted),
    )


class ReportNotes:
    """What a user should know about the texts of one or several calls: a sentence for each kind of fact.

    Args:
        texts: What the texts are called, in the plural.
    """

    def __init__(self, texts: str = "texts") -> None:
        self._texts = texts
        self._facts: dict[str, object] = {}
        self._n_texts = 0
        self._counts: Counter[NoteKind] = Counter()
        self._names: dict[NoteKind, list[str]] = defaultdict(list)

    def add(self, report: EncodeReport, name: TextName | None = None) -> ReportNotes:
        """Add a report on texts of the same model and prompt as those before.

        Args:
            report: The report.
            name: What the user calls the text at an index; None where an index says nothing to the user.
        """
        prompt, cuts = report.prompt, report.truncated
        unknown = np.flatnonzero(report.unknown_share >= NOTEWORTHY_UNKNOWN_SHARE).tolist()
        self._facts |= {"model": report.model, "prompt": prompt.text, "instruction": prompt.instruction}
        if cuts:
            self._facts["n_read"] = cuts[0].n_read
        self._n_texts += report.n_texts
        self._counts["truncated"] += len(cuts)
        self._counts["unknown"] += len(unknown)
        self._counts["already_prompted"] += len(report.already_prompted)
        self._counts["replaced_surrogates"] += report.n_replaced_surrogates
        self._counts["default_instruction"] += prompt.is_default_instruction
        if name is None:
            self._add_names("truncated", (f"the first: {_n_dropped(cut)}" for cut in cuts[:1]))
        else:
            self._add_names("truncated", (f"{name(cut.index)}: {_n_dropped(cut)}" for cut in cuts))
            self._add_names("unknown", (f"{name(row)}: {report.unknown_share[row]:.0%}" for row in unknown))
            self._add_names("already_prompted", map(name, report.already_prompted))
        return self

    def sentences(self) -> dict[NoteKind, str]:
        """A sentence for each kind of fact that occurs, without advice."""
        of_all = f"of {self._n_texts:,} {self._texts}"
        return {
            kind: template.format(many=f"{self._counts[kind]:,} {of_all}", which=self._which(kind), **self._facts)
            for kind, template in _SENTENCES.items()
            if self._counts[kind]
        }

    def _add_names(self, kind: NoteKind, names: Iterable[str]) -> None:
        self._names[kind] += itertools.islice(names, _MAX_NAMES - len(self._names[kind]))

    def _which(self, kind: NoteKind) -> str:
        names = self._names[kind]
        n_more = self._counts[kind] - len(names) if len(names) == _MAX_NAMES else 0
        more = f" and {n_more:,} more" if n_more else ""
        return f" ({', '.join(names)}{more})" if names else ""


def warn(
    report: EncodeReport,
    *,
    stacklevel: int,
    warned: set[NoteKind] | None = None,
    details: str = "prepare(...).report lists them.",
    has_callers_order: bool = True,
) -> None:
    """Warn of truncated texts, repeated prompts and a default instruction, once a call for each.

    Args:
        report: The report of the call.
        stacklevel: As for `warnings.warn`, counted from the caller of this function.
        warned: Kinds of warnings that this stream of calls had before, which are not repeated; new ones are added.
        details: Where the caller finds the truncated texts, or how to keep them whole.
        has_callers_order: Whether the report's indices mean something to the caller; if not, they are left out.
    """
    advice: dict[NoteKind, str] = {
        "truncated": f" {details}",
        "already_prompted": " Pass the bare text, or prompt=''.",
        "default_instruction": "",
    }
    warned = set() if warned is None else warned
    sentences = ReportNotes().add(report, "text {}".format if has_callers_order else None).sentences()
    for kind, category in _WARNINGS.items():
        if kind in sentences and kind not in warned:
            warnings.warn(sentences[kind] + advice[kind], category, stacklevel=stacklevel + 1)
            warned.add(kind)


def _n_dropped(cut: Truncation) -> str:
    return f"{'' if cut.exact else 'at least '}{cut.n_dropped:,} tokens"
