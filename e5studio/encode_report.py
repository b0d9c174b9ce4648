"""What an encoder tells about a call: the prompt, what was cut, what was unknown; and its warnings."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.errors import E5StudioWarning, PromptWarning, TruncationWarning
from e5studio.prompts import Prompt


@dataclass(frozen=True)
class Truncation:
    """One text that was longer than the model reads.

    Attributes:
        index: Position in the caller's list.
        n_read: Tokens that were read, prompt and special tokens counted.
        n_dropped: Tokens that were not.
        exact: Whether `n_dropped` is exact, or "at least".
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
        prompt: What was put in front of each text, and why.
        backend: Back end that computes.
        device: Where it computes.
        dtype: Its precision.
        n_texts: Number of texts.
        n_tokens: Tokens read of each, prompt and special tokens counted, (n,) int32.
        truncated: The texts that were longer than the model reads.
        unknown_share: Share of each text's tokens that the vocabulary lacks, (n,) float32 in 0..1.
        n_replaced_surrogates: Texts in which a lone surrogate was read as U+FFFD.
        already_prompted: Positions of texts that begin with a prompt of their own.
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
    """What was done to the texts of several calls alike, as of one call with all of them; at least one report."""
    first_texts = list(itertools.accumulate((report.n_texts for report in reports), initial=0))
    placed = list(zip(first_texts, reports, strict=False))
    return replace(
        reports[0],
        n_texts=first_texts[-1],
        n_tokens=np.concatenate([report.n_tokens for report in reports]),
        truncated=tuple(replace(cut, index=first + cut.index) for first, report in placed for cut in report.truncated),
        unknown_share=np.concatenate([report.unknown_share for report in reports]),
        n_replaced_surrogates=sum(report.n_replaced_surrogates for report in reports),
        already_prompted=tuple(first + index for first, report in placed for index in report.already_prompted),
    )


def warn(
    report: EncodeReport,
    *,
    stacklevel: int,
    told: set[str] | None = None,
    details: str = "prepare(...).report lists them.",
    has_callers_order: bool = True,
) -> None:
    """Say once a call what a caller would want to know and might not ask for.

    Args:
        report: Of the call.
        stacklevel: As `warnings.warn` counts, from the caller of this function.
        told: What was said before in the same stream and is not repeated; what is said now is added.
        details: Where the caller finds which texts were cut, or how to keep them whole.
        has_callers_order: Whether positions in the report mean something to the caller and may be named.
    """
    told = set() if told is None else told
    for kind, (category, sentence) in _advice(report, details, has_callers_order).items():
        if kind not in told:
            warnings.warn(sentence, category, stacklevel=stacklevel + 1)
            told.add(kind)


def _advice(
    report: EncodeReport, details: str, has_callers_order: bool
) -> dict[str, tuple[type[E5StudioWarning], str]]:
    advice: dict[str, tuple[type[E5StudioWarning], str]] = {}
    if report.truncated:
        first = report.truncated[0]
        where = f"text {first.index}" if has_callers_order else "the first"
        advice["truncated"] = (
            TruncationWarning,
            f"{len(report.truncated)} of {report.n_texts} texts are longer than the {first.n_read} tokens that "
            f"{report.model} reads; their ends were left out ({where}: "
            f"{'' if first.exact else 'at least '}{first.n_dropped} tokens). {details}",
        )
    if report.already_prompted:
        where = f" (first at {report.already_prompted[0]})" if has_callers_order else ""
        advice["already prompted"] = (
            PromptWarning,
            f"{len(report.already_prompted)} texts{where} already begin with a prompt, and "
            f"{report.prompt.text!r} was put in front of it. Pass the bare text, or prompt=''.",
        )
    if report.prompt.is_default_instruction:
        advice["default instruction"] = (
            PromptWarning,
            f"No instruction was given; the model card's web-search task was used: {report.prompt.instruction!r}.",
        )
    return advice
