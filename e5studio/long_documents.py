"""Texts longer than the model reads: cut into parts that fit, and pooled into one vector.

By itself the model reads only the beginning of a long text. The vector from here is an average over
parts that did not see each other, not the vector of a model with a longer input.
"""

from __future__ import annotations

import math
import unicodedata

import numpy as np
from numpy.typing import NDArray

from e5studio.batching import IntArray
from e5studio.encode_report import EncodeReport, warn
from e5studio.encoder import E5Encoder, Progress
from e5studio.errors import NonFiniteError
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.text_checks import find_bad_texts


def encode_long_documents(
    encoder: E5Encoder, texts: list[str], *, prompt: str | Prompt, on_progress: Progress | None = None
) -> FloatArray:
    """Embed whole texts of any length.

    A text that fits is embedded as by `E5Encoder.encode`. A longer one is cut by `split_to_fit`;
    its vector is the mean of its parts' vectors (each of length 1, each with the prompt in front),
    weighted by their tokens and scaled to length 1.

    Args:
        encoder: Computes the vectors.
        texts: The texts.
        prompt: The prompt in front of every part.
        on_progress: Called with the number done and the number of all: of texts while they are cut, then of parts.

    Returns:
        Float32, (n, embed_dim), in the order of the texts.

    Raises:
        TextError: Some texts are empty. TextTypeError: Some are not strings.
        NonFiniteError: The parts of a text cancel each other out.
    """
    prepared = encoder.prepare(texts, prompt=prompt)
    warn(prepared.report, stacklevel=2, warned={"truncated", "default_instruction"}, has_callers_order=False)
    too_long = {cut.index for cut in prepared.report.truncated}
    if not too_long:
        return encoder.embed_prepared(prepared, on_progress=on_progress)
    parts = []
    for index, text in enumerate(texts):
        if on_progress is not None:
            on_progress(0, len(texts))  # cutting takes long enough to be stopped
        parts.append(split_to_fit(encoder, text, prompt=prompt) if index in too_long else [text])
    flat = encoder.prepare([part for parts_of_text in parts for part in parts_of_text], prompt=prompt)
    try:
        vectors = encoder.embed_prepared(flat, on_progress=on_progress)
    except NonFiniteError as error:
        text_of_part = np.repeat(np.arange(len(texts)), [len(part) for part in parts])
        indices = sorted({int(text_of_part[index]) for index in error.indices})
        raise NonFiniteError(f"In parts of the texts at {indices[:10]}: {error}", indices) from error
    return pool_parts(encoder, vectors, flat.report.n_tokens, [len(part) for part in parts], prompt=prompt)


def pool_parts(
    encoder: E5Encoder, vectors: FloatArray, n_tokens: IntArray, counts: list[int], *, prompt: str | Prompt
) -> FloatArray:
    """The vectors of whole texts from those of their parts.

    Args:
        encoder: Computed the parts' vectors.
        vectors: Of length 1, (sum of counts, embed_dim).
        n_tokens: Of each part, prompt and special tokens counted.
        counts: Parts of each text, which follow each other.
        prompt: The prompt in front of every part.

    Raises:
        NonFiniteError: The parts of a text cancel each other out.
    """
    n_around = encoder.spec.max_tokens - encoder.max_text_tokens(prompt=prompt)  # prompt and special tokens
    return _pooled(vectors, n_tokens - n_around, counts)


def split_to_fit(encoder: E5Encoder, text: str, *, prompt: str | Prompt) -> list[str]:
    """Cut a text into the fewest parts that the model reads whole, of about equal length.

    Cuts lie between words or after punctuation, and inside a word only if no better cut is near.
    Only spaces at the cuts are lost.

    Args:
        encoder: Counts the tokens.
        text: Of any length.
        prompt: The prompt in front of every part.
    """
    return [text[start:end] for start, end in spans_to_fit(encoder, text, prompt=prompt)]


def spans_to_fit(encoder: E5Encoder, text: str, *, prompt: str | Prompt) -> list[tuple[int, int]]:
    """First and one-past-last character of each part that `split_to_fit` makes."""
    if not _report(encoder, text, prompt).truncated:
        return [(0, len(text))]
    starts = encoder.token_spans(text)[:, 0]
    room = encoder.max_text_tokens(prompt=prompt)
    spans: list[tuple[int, int]] = []
    done, start = 0, 0
    while done < len(starts):
        for limit in range(room, 0, -1):  # after the prompt a part may have one token more than inside the text
            cut = _next_cut(text, starts, done, limit)
            end = int(starts[cut]) if cut < len(starts) else len(text)
            part = text[start:end].strip()
            report = _report(encoder, part, prompt)
            is_empty = bool(find_bad_texts([part]) or report.empty)
            if is_empty or not report.truncated:
                break
        if not is_empty:
            first = start + len(text[start:end]) - len(text[start:end].lstrip())
            spans.append((first, first + len(part)))
        done, start = cut, end
    return spans


def _report(encoder: E5Encoder, text: str, prompt: str | Prompt) -> EncodeReport:
    return encoder.prepare([text], prompt=prompt, allow_empty=True).report


def _next_cut(text: str, starts: IntArray, done: int, limit: int) -> int:
    """The token before which to cut, so that at most `limit` tokens lie between it and `done`."""
    n_left = len(starts) - done
    if n_left <= limit:
        return len(starts)
    target = done + math.ceil(n_left / math.ceil(n_left / limit))
    near = sorted(
        range(target - limit // 4, min(target + limit // 4, done + limit) + 1), key=lambda cut: abs(cut - target)
    )
    cut = next((cut for cut in near if cut > done and _begins_word(text, int(starts[cut]))), target)
    # Several tokens may stand for one character, which stays whole.
    first = int(np.searchsorted(starts, starts[cut]))
    return first if first > done else int(np.searchsorted(starts, starts[cut], side="right"))


def _begins_word(text: str, index: int) -> bool:
    before, after = text[index - 1], text[index]
    # Chinese and Japanese have no spaces, but punctuation of their own, which never stands inside a word.
    return before.isspace() or after.isspace() or (ord(before) > 127 and unicodedata.category(before)[0] == "P")


def _pooled(vectors: FloatArray, weights: IntArray, n_parts: list[int]) -> FloatArray:
    counts = np.array(n_parts)
    starts: NDArray[np.intp] = np.cumsum(counts) - counts
    sums = np.add.reduceat(vectors * np.maximum(weights, 1)[:, None].astype(np.float32), starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    if not (norms > 0).all():
        indices = np.flatnonzero(norms[:, 0] == 0).tolist()
        raise NonFiniteError(f"The parts of the texts at {indices[:10]} cancel each other out.", indices)
    pooled: FloatArray = sums / norms
    whole = counts == 1
    pooled[whole] = vectors[starts[whole]]
    return pooled
