"""The content of a text box -> texts with labels; the limits on texts.

Texts reach the model unchanged; only their display is cut or cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from e5studio.studio.errors import LimitError
from e5studio.text_checks import find_bad_texts

Separator = Literal["line", "blank_line"]
"""Each line is a text, or blank lines separate texts of several lines."""

# Not str.splitlines: that also cuts at form feeds, U+0085 and U+2028, which occur inside real passages.
_LINE_END = re.compile(r"\r\n|\r|\n")
_BLANK_LINES = re.compile(r"(?:\r\n|\r|\n)(?:[^\S\r\n]*(?:\r\n|\r|\n))+")

_LINES_PER_TEXT = 64  # of a box, empty ones among them
_TAKE_FEWER = "Take fewer, or the page's Corpus tab, which takes 50,000 texts; the e5studio command has no limit."


@dataclass(frozen=True)
class Limits:
    """How much the Studio takes at once; the library itself has no such limits.

    Attributes:
        max_texts: Most texts in a text box, or in a call of an endpoint.
        max_characters: Most characters in a text box, or in all texts of a call.
    """

    max_texts: int = 256
    max_characters: int = 400_000


@dataclass(frozen=True)
class TextList:
    """The texts of a text box.

    Attributes:
        texts: The texts that can be embedded, unchanged.
        labels: A short name for each, such as "Q3" for the third line.
        empty: Numbers (from 1) of the lines without a text.
        unread: Labels of the texts that were left out because the model reads no token of them.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    empty: tuple[int, ...] = ()
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of texts that can be embedded."""
        return len(self.texts)

    def without_unread(self, indices: Sequence[int]) -> TextList:
        """The texts but for those of which the model reads nothing."""
        good = [index for index in range(len(self)) if index not in indices]
        return replace(
            self,
            texts=tuple(self.texts[index] for index in good),
            labels=tuple(self.labels[index] for index in good),
            unread=tuple(self.labels[index] for index in indices),
        )


def split_texts(raw: str | None, letter: str, separator: Separator = "line") -> TextList:
    """Split the content of a text box.

    Args:
        raw: The content.
        letter: First letter of the labels: "Q", "P" or "T".
        separator: Where one text ends.

    Labels count empty lines as well, so that they name the line on the page. Empty lines at the end are ignored.
    """
    text = raw or ""
    parts = _LINE_END.split(text) if separator == "line" else _BLANK_LINES.split(text.strip("\r\n"))
    bad = find_bad_texts(parts)
    while parts and len(parts) - 1 in bad:
        parts.pop()
    good = [index for index in range(len(parts)) if index not in bad]
    return TextList(
        texts=tuple(parts[index] for index in good),
        labels=tuple(f"{letter}{index + 1}" for index in good),
        empty=tuple(index + 1 for index in range(len(parts)) if index in bad),
    )


def check_box(raw: str | None, limits: Limits, what: str) -> None:
    """Refuse a text box whose splitting alone would occupy the machine, with room for empty lines and line ends.

    Raises:
        LimitError: Too many lines or characters.
    """
    text = raw or ""
    n_lines = text.count("\n") + text.count("\r")
    if n_lines > _LINES_PER_TEXT * limits.max_texts or len(text) > 2 * limits.max_characters:
        raise LimitError(
            f"The box of the {what} has {n_lines:,} line ends and {len(text):,} characters. At most"
            f" {limits.max_texts:,} {what} and {limits.max_characters:,} characters are taken at once here."
            f" {_TAKE_FEWER}"
        )


def check_limits(texts: Sequence[str], limits: Limits, what: str) -> None:
    """Refuse texts that would occupy the machine for minutes.

    Raises:
        LimitError: Too many texts or characters.
    """
    if len(texts) > limits.max_texts:
        raise LimitError(
            f"{len(texts):,} {what} are more than the {limits.max_texts:,} taken at once here. {_TAKE_FEWER}"
        )
    n_characters = sum(map(len, texts))
    if n_characters > limits.max_characters:
        raise LimitError(
            f"The {what} have {n_characters:,} characters; {limits.max_characters:,} are taken at once here."
            f" {_TAKE_FEWER}"
        )
