"""Which words make up a score: the exact token-pair decomposition of a mean-pooled cosine, and leaving words out.

A mean-pooled text is the mean of its token vectors, h_1 ... h_n and g_1 ... g_m, so that

    cosine = (sum of h_i) . (sum of g_j) / (|sum h| |sum g|) = sum over i, j of h_i . g_j / (|sum h| |sum g|)

exactly: each pair of tokens has its share of the score, and the shares add up to it. They say how the
number is composed, not why the model gives it: every token's vector was made with the whole text in view.
The effect of a word is measured by leaving it out (`without_each_word`), for models of any pooling.

All functions take arrays and texts; none embeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import VectorError
from e5studio.similarity import as_rows, ignoring_underflow, require_finite

Part = Literal["word", "prompt", "special"]
Shares = NDArray[np.float64]

# Scripts that put no spaces between words: there each token is a word of its own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Words:
    """The tokens of one text, gathered into words.

    Attributes:
        names: One for each word; the special tokens and the prompt come first, if there are any.
        parts: Kind of each.
        spans: First and one-past-last character of each in the text, (n_words, 2); (0, 0) outside the text.
        word_of_token: Index of each token's word, (n_tokens,).
    """

    names: tuple[str, ...]
    parts: tuple[Part, ...]
    spans: NDArray[np.int64]
    word_of_token: NDArray[np.int64]


@dataclass(frozen=True)
class WordShares:
    """How a score is made up of pairs of words.

    Attributes:
        left: Words of the first text.
        right: Words of the second.
        shares: The share of each pair, (n_left, n_right); they and `remainder` add up to `cosine`.
        cosine: The score, -1 to 1.
        remainder: The part common to all pairs, removed by centring; 0 without it.
    """

    left: Words
    right: Words
    shares: Shares
    cosine: float
    remainder: float = 0.0

    def of(self, *kinds: Part) -> float:
        """Sum of all shares in which at least one side is of these kinds."""
        rows = np.isin(self.left.parts, kinds)
        columns = np.isin(self.right.parts, kinds)
        return float(self.shares[rows[:, None] | columns].sum())


@ignoring_underflow
def word_shares(
    left: ArrayLike, right: ArrayLike, left_words: Words, right_words: Words, *, centre: ArrayLike | None = None
) -> WordShares:
    """The share of each pair of words.

    Args:
        left: Token vectors of the one text, (n, dim).
        right: Of the other, (m, dim).
        left_words: Its tokens gathered into words.
        right_words: Of the other.
        centre: The common part of all texts, (dim,), such as the mean of the user's texts. It dominates every share of
            an E5 model; subtracted from each token vector, shares are positive and negative, and `remainder` holds
            the difference to the score.

    Raises:
        VectorError: No vectors, different dimensions, token vectors that add up to zero, or words of other tokens.
    """
    a, b = _token_rows(left, right)
    if len(left_words.word_of_token) != len(a) or len(right_words.word_of_token) != len(b):
        raise VectorError(
            f"The words are of {len(left_words.word_of_token)} and {len(right_words.word_of_token)} tokens, the "
            f"vectors of {len(a)} and {len(b)}. Gather the words of the same texts."
        )
    sums = a.sum(axis=0), b.sum(axis=0)
    scale = float(np.linalg.norm(sums[0]) * np.linalg.norm(sums[1]))
    if scale == 0:
        raise VectorError("The token vectors of a text add up to nothing, so they have no cosine.")
    cosine = float(sums[0] @ sums[1] / scale)
    if centre is not None:
        common = np.asarray(centre, np.float64)
        a, b = a - common, b - common
    shares = _gather(a, left_words) @ _gather(b, right_words).T / scale
    return WordShares(
        left_words, right_words, shares, cosine, cosine - float(shares.sum()) if centre is not None else 0.0
    )


def gather_words(
    text: str, offsets: NDArray[np.integer], in_prompt: NDArray[np.bool_], special: NDArray[np.bool_]
) -> Words:
    """Gather tokens into words: between spaces, or token by token where a script has none.

    Args:
        text: The text, without its prompt.
        offsets: First and one-past-last character of each token in it, (n, 2).
        in_prompt: Which tokens belong to the prompt.
        special: Which the tokenizer added.
    """
    outer: list[tuple[str, Part]] = []
    if special.any():
        outer.append(("special tokens", "special"))
    if in_prompt.any():
        outer.append(("prompt", "prompt"))
    index_of_part = {part: index for index, (_, part) in enumerate(outer)}
    spans: list[tuple[int, int]] = [(0, 0)] * len(outer)
    word_of_token = np.empty(len(offsets), np.int64)
    for token, (start, end) in enumerate(offsets.tolist()):
        if special[token] or in_prompt[token]:
            word_of_token[token] = index_of_part["special" if special[token] else "prompt"]
            continue
        first, last = _word_around(text, max(start, 0), end)
        if len(spans) > len(outer) and first < spans[-1][1]:  # another piece of the same word
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        else:
            spans.append((first, last))
        word_of_token[token] = len(spans) - 1
    names = [name for name, _ in outer] + [text[start:end] for start, end in spans[len(outer) :]]
    parts: list[Part] = [part for _, part in outer] + ["word"] * (len(spans) - len(outer))
    return Words(tuple(names), tuple(parts), np.array(spans, np.int64).reshape(-1, 2), word_of_token)


def without_each_word(text: str, words: Words) -> list[str]:
    """For each word the text without it; "" for the only word.

    Args:
        text: The text.
        words: From `gather_words`; the prompt and special tokens are skipped.
    """
    return [
        f"{text[:start].rstrip()} {text[end:].lstrip()}".strip()
        for (start, end), part in zip(words.spans.tolist(), words.parts, strict=True)
        if part == "word"
    ]


def _word_around(text: str, start: int, end: int) -> tuple[int, int]:
    """First and one-past-last character of the word around a token."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end or _UNSPACED.search(text, start, end):
        return start, end
    first = start
    while first > 0 and not text[first - 1].isspace() and not _UNSPACED.match(text[first - 1]):
        first -= 1
    last = end
    while last < len(text) and not text[last].isspace() and not _UNSPACED.match(text[last]):
        last += 1
    return first, last


def _gather(rows: NDArray[np.float64], words: Words) -> NDArray[np.float64]:
    gathered = np.zeros((len(words.names), rows.shape[1]))
    np.add.at(gathered, words.word_of_token, rows)
    return gathered


def _token_rows(left: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = as_rows(left, "left").astype(np.float64), as_rows(right, "right").astype(np.float64)
    require_finite(a, "left")
    require_finite(b, "right")
    if not len(a) or not len(b) or a.shape[1] != b.shape[1]:
        raise VectorError(
            f"Token vectors of shapes {a.shape} and {b.shape} have no cosine. Give (n, dim) and (m, dim)."
        )
    return a, b
