"""Counts the characters that a tokenizer leaves out without a token; they reach the model as nothing.

BERT's normaliser removes U+FFFD and the private-use code points, XLM-RoBERTa's turns U+FFFD into a space. No
unknown token stands for them, so that the ids alone do not show the loss.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray

_N_CODE_POINTS = 0x110000
_UNSEEN, _READ, _DROPPED = range(3)
_CHARACTERS_AT_ONCE = 1 << 20
# White space, controls, formats and accents carry no word of their own: tokenizers leave them out on purpose.
_WITHOUT_TEXT = ("Z", "M", "Cc", "Cf")


class DroppedCharacters:
    """Knows which code points leave no token, each looked up when it first occurs; safe to share between threads.

    Args:
        leave_no_token: For each of some characters whether it leaves no token when it stands alone.
    """

    def __init__(self, leave_no_token: Callable[[list[str]], list[bool]]) -> None:
        self._leave_no_token = leave_no_token
        self._states = np.zeros(_N_CODE_POINTS, np.uint8)

    def count(self, texts: Sequence[str]) -> IntArray:
        """Dropped characters of each text, (n,)."""
        counts = np.zeros(len(texts), np.int32)
        for rows in _groups(texts):
            ends = np.cumsum([len(texts[row]) for row in rows])
            is_dropped = self._are_dropped("".join(texts[row] for row in rows))
            if is_dropped.any():
                totals = np.append(0, np.cumsum(is_dropped))[np.append(0, ends)]
                counts[rows] = np.diff(totals)
        return counts

    def _are_dropped(self, text: str) -> NDArray[np.bool_]:
        code_points = np.frombuffer(text.encode("utf-32-le"), "<u4")
        states = self._states[code_points]
        if not states.all():
            self._look_up(np.unique(code_points[states == _UNSEEN]))
            states = self._states[code_points]
        is_dropped: NDArray[np.bool_] = states == _DROPPED
        return is_dropped

    def _look_up(self, code_points: NDArray[np.uint32]) -> None:
        characters = list(map(chr, code_points.tolist()))
        left_out = self._leave_no_token(characters)
        self._states[code_points] = [
            _DROPPED if is_left_out and _has_text(character) else _READ
            for character, is_left_out in zip(characters, left_out, strict=True)
        ]


def _has_text(character: str) -> bool:
    return not unicodedata.category(character).startswith(_WITHOUT_TEXT)


def _groups(texts: Sequence[str]) -> Iterator[list[int]]:
    """Rows of the texts that hold more than ASCII, a bounded number of characters at a time."""
    rows: list[int] = []
    n_characters = 0
    for row, text in enumerate(texts):
        if text.isascii():
            continue
        rows.append(row)
        n_characters += len(text)
        if n_characters >= _CHARACTERS_AT_ONCE:
            yield rows
            rows, n_characters = [], 0
    if rows:
        yield rows
