"""The report of a call: its prompt, what was cut off, what was not read; as facts, as sentences, as warnings."""

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
from e5studio.errors import E5StudioWarning, PromptWarning, TextError, TruncationWarning, UnreadTextWarning
from e5studio.prompts import Prompt
from e5studio.text_checks import listed_indices

NoteKind = Literal[
    "truncated", "unknown", "dropped_characters", "replaced_surrogates", "already_prompted", "default_instruction"
]
TextName = Callable[[int], str]

NOTEWORTHY_UNKNOWN_SHARE = 0.05
"""Less is a name or a sign in an ordinary text."""

_MAX_NAMES = 8
_MAX_SHOWN = 40
_SENTENCES: dict[NoteKind, str] = {
    "truncated": "{many} are longer than the {n_read:,} tokens that {model} reads; their ends were left out{which}.",
    "unknown": "{many} have words or characters that {model} does not know{which}.",
    "dropped_characters": "{many} have characters that {model} does not read at all{which}.",
    "replaced_surrogates": "{many} have broken characters, which were replaced by \ufffd (U+FFFD).",
    "already_prompted": "{many} already begin with a prompt{which}, and {prompt!r} was put in front of it.",
    "default_instruction": "No instruction was given; the model card's web-search task was used: {instruction!r}.",
}
_WARNINGS: dict[NoteKind, type[E5StudioWarning]] = {
    "truncated": TruncationWarning,
    "unknown": UnreadTextWarning,
    "dropped_characters": UnreadTextWarning,
    "replaced_surrogates": UnreadTextWarning,
    "already_prompted": PromptWarning,
    "default_instruction": PromptWarning,
}
_WRONG_ENCODING = (
    "U+FFFD (\ufffd) is what a wrong encoding leaves of a letter: read the source again with the right one."
)
_ADVICE: dict[NoteKind, str] = {
    "unknown": " Texts of unknown tokens have like vectors whatever they say. Take a model made for their language "
    "(such as a multilingual one), and put spaces into words of more than 100 characters.",
    "dropped_characters": f" {_WRONG_ENCODING}",
    "replaced_surrogates": " Half of a character comes from cut or wrongly decoded text: correct it at its source.",
    "already_prompted": " Pass the bare text, or prompt=''.",
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
        unknown_share: Share of each text that the model does not know: tokens that are not in the vocabulary, and
            dropped characters, (n,) float32 in 0..1.
        n_dropped_characters: Characters of each text that leave no token, white space, controls, formats and accents
            not counted, (n,) int32; for a cut text those of its beginning.
        empty: Indices of the texts of which no token is left: their vectors are those of the prompt alone.
        replaced_surrogates: Indices of the texts in which a lone surrogate was replaced by U+FFFD.
        already_prompted: Indices of the texts that begin with a prompt themselves.
        reads_end_spaces: Whether white space at the end of a text changes what this model reads.
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
    n_dropped_characters: IntArray
    empty: tuple[int, ...]
    replaced_surrogates: tuple[int, ...]
    already_prompted: tuple[int, ...]
    reads_end_spaces: bool

    def part(self, start: int, stop: int) -> EncodeReport:
        """The report of some of the texts, which follow each other, as if they had come alone."""
        own = range(start, stop)
        return replace(
            self,
            n_texts=len(own),
            n_tokens=self.n_tokens[start:stop],
            truncated=tuple(replace(cut, index=cut.index - start) for cut in self.truncated if cut.index in own),
            unknown_share=self.unknown_share[start:stop],
            n_dropped_characters=self.n_dropped_characters[start:stop],
            empty=tuple(index - start for index in self.empty if index in own),
            replaced_surrogates=tuple(index - start for index in self.replaced_surrogates if index in own),
            already_prompted=tuple(index - start for index in self.already_prompted if index in own),
        )


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
        n_dropped_characters=np.concatenate([report.n_dropped_characters for report in reports]),
        empty=tuple(first + index for first, report in parts for index in report.empty),
        replaced_surrogates=tuple(first + index for first, report in parts for index in report.replaced_surrogates),
        already_prompted=tuple(first + index for first, report in parts for index in report.already_prompted),
    )


def nothing_read(report: EncodeReport, texts: Sequence[str]) -> TextError:
    """The refusal of texts that leave no token."""
    first = texts[report.empty[0]]
    shown = repr(first if len(first) <= _MAX_SHOWN else first[:_MAX_SHOWN] + "…")
    return TextError(
        f"{len(report.empty)} of {report.n_texts} texts are empty to {report.model} "
        f"(at {listed_indices(report.empty)}; the first is {shown}): its tokenizer leaves no token of their "
        f"characters. {_WRONG_ENCODING} Or take a model made for these texts, or leave them out.",
        report.empty,
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
        dropping = np.flatnonzero(report.n_dropped_characters).tolist()
        self._facts |= {"model": report.model, "prompt": prompt.text, "instruction": prompt.instruction}
        if cuts:
            self._facts["n_read"] = cuts[0].n_read
        self._n_texts += report.n_texts
        self._counts["truncated"] += len(cuts)
        self._counts["unknown"] += len(unknown)
        self._counts["dropped_characters"] += len(dropping)
        self._counts["already_prompted"] += len(report.already_prompted)
        self._counts["replaced_surrogates"] += len(report.replaced_surrogates)
        self._counts["default_instruction"] += prompt.is_default_instruction
        if name is None:
            self._add_names("truncated", (f"the first: {_n_dropped(cut)}" for cut in cuts[:1]))
        else:
            self._add_names("truncated", (f"{name(cut.index)}: {_n_dropped(cut)}" for cut in cuts))
            self._add_names("unknown", (f"{name(row)}: {report.unknown_share[row]:.0%}" for row in unknown))
            n_dropped = report.n_dropped_characters
            self._add_names("dropped_characters", (f"{name(row)}: {n_dropped[row]:,}" for row in dropping))
            self._add_names("already_prompted", map(name, report.already_prompted))
        return self

    def merge(self, other: ReportNotes) -> None:
        """Add what was collected elsewhere of texts of the same model and prompt."""
        self._facts |= other._facts
        self._n_texts += other._n_texts
        self._counts += other._counts
        for kind, names in other._names.items():
            self._add_names(kind, names)

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
    """Warn of what was not read, of repeated prompts and of a default instruction, once a call for each.

    Args:
        report: The report of the call.
        stacklevel: As for `warnings.warn`, counted from the caller of this function.
        warned: Kinds of warnings that this stream of calls had before, which are not repeated; new ones are added.
        details: Where the caller finds the truncated texts, or how to keep them whole.
        has_callers_order: Whether the report's indices mean something to the caller; if not, they are left out.
    """
    advice = {"truncated": f" {details}", **_ADVICE}
    warned = set() if warned is None else warned
    sentences = ReportNotes().add(report, "text {}".format if has_callers_order else None).sentences()
    for kind, category in _WARNINGS.items():
        if kind in sentences and kind not in warned:
            warnings.warn(sentences[kind] + advice.get(kind, ""), category, stacklevel=stacklevel + 1)
            warned.add(kind)


def _n_dropped(cut: Truncation) -> str:
    return f"{'' if cut.exact else 'at least '}{cut.n_dropped:,} tokens"
