"""The sentences of a text, as parts that can be marked and left out; by their ends, not by grammar."""

from __future__ import annotations

import re

import numpy as np

from e5studio.analysis.attribution import Part, Words

# The end of a sentence with the quotes and brackets behind it: before a space, but for "J." and "Dr."; or after a
# full-width mark, or a line.
_CLOSING = "\"')\\]\u201d\u2019\u300d\u300f\uff09"
_END = re.compile(
    f"(?<!\\b[A-Z])(?<!\\b[A-Z][a-z])[.!?\u2026]+[{_CLOSING}]*(?=\\s)|[\u3002\uff01\uff1f]+[{_CLOSING}]*|\\n+"
)
_SHORTEST = 12  # characters: what is shorter belongs to what follows


def sentences_of(text: str) -> Words:
    """The sentences of a text, without the spaces between them."""
    borders = [0]
    for end in (match.end() for match in _END.finditer(text)):
        if len(text[borders[-1] : end].strip()) >= _SHORTEST:
            borders.append(end)
    spans = []
    for start, end in zip(borders, [*borders[1:], len(text)], strict=True):
        sentence = text[start:end]
        if sentence.strip():
            first = start + len(sentence) - len(sentence.lstrip())
            spans.append((first, first + len(sentence.strip())))
    return parts_at(text, spans)


def parts_at(text: str, spans: list[tuple[int, int]]) -> Words:
    """Parts of a text that no token is told of."""
    names = tuple(text[start:end] for start, end in spans)
    kinds: list[Part] = ["word" for _ in spans]
    return Words(names, tuple(kinds), np.array(spans, np.int64).reshape(-1, 2), np.empty(0, np.int64))
