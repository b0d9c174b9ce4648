"""Checks which texts can be embedded; errors name the indices of those that cannot.

Whether a model reads any token of a text is not known here: `E5Encoder.prepare` checks that. No text is changed, except
that `with_titles` puts titles in front.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from e5studio.errors import TextError, TextTypeError
from e5studio.prompts import join_title

T = TypeVar("T")


def find_bad_texts(texts: Sequence[object]) -> dict[int, str]:
    """Indices of texts that cannot be embedded, with the reason: "empty" or "not text: int"."""
    reasons = {}
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            reasons[index] = f"not text: {type(text).__name__}"
        elif _is_empty(text):
            reasons[index] = "empty"
    return reasons


def _is_empty(text: str) -> bool:
    """Whether a text consists of white space, zero-width and control characters."""
    if text[:1].isalnum():
        return False
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in text)


def as_texts(texts: Iterable[str]) -> list[str]:
    """The texts as a list; refuses empty ones."""
    checked = checked_types(texts)
    empty = [index for index, text in enumerate(checked) if _is_empty(text)]
    if empty:
        raise TextError(
            f"{len(empty)} of {len(checked)} texts are empty (at {listed_indices(empty)}). An empty text has no "
            "meaning to embed: leave it out, or give it content.",
            empty,
        )
    return checked


def checked_container(texts: Iterable[T], what: str = "text") -> Iterable[T]:
    """Refuse arguments in place of a list of texts (or of another `what`) whose iteration would give something else.

    Raises:
        TextTypeError: It is a single text, a mapping, a table, or has no order.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise TextTypeError(f"Expected a list of {what}s, got {type(texts).__name__}. Wrap a single {what} in a list.")
    if isinstance(texts, set | frozenset):
        raise TextTypeError(f"Expected a list of {what}s, got a set, which has no order that rows could follow.")
    if getattr(texts, "ndim", 1) != 1:  # a table gives its column names when it is iterated
        raise TextTypeError(f"Expected a list of {what}s, got a {type(texts).__name__}. Give one column of it.")
    return texts


def checked_types(texts: Iterable[str]) -> list[str]:
    """The texts as a list; refuses what is not a string."""
    listed = list(checked_container(texts))
    wrong = [index for index, text in enumerate(listed) if not isinstance(text, str)]
    if wrong:
        raise TextTypeError(
            f"Texts must be str: at {wrong[0]} stands {type(listed[wrong[0]]).__name__} "
            f"({len(wrong)} of {len(listed)} are not text, at {listed_indices(wrong)}). Convert or remove them.",
            wrong,
        )
    return listed


def listed_indices(indices: Sequence[int]) -> str:
    """The first ten, for a message."""
    return ", ".join(map(str, indices[:10])) + (", ..." if len(indices) > 10 else "")


def with_titles(titles: str | Iterable[str | None], texts: str | Iterable[str]) -> str | list[str]:
    """Each text with its title in front.

    Raises:
        TextError: There are not as many titles as texts. TextTypeError: A text is not a string, or a title is neither
            a string nor None.
    """
    if isinstance(texts, str):
        if not isinstance(titles, str):
            raise TextTypeError("A single text takes a single title.", [0])
        return join_title(titles, texts)
    bodies = checked_types(texts)
    heads = [titles] if isinstance(titles, str) else list(checked_container(titles, "title"))
    if len(heads) != len(bodies):
        raise TextError(f"Got {len(heads)} titles for {len(bodies)} texts. Give one each, None where there is none.")
    wrong = [index for index, head in enumerate(heads) if not (head is None or isinstance(head, str))]
    if wrong:
        raise TextTypeError(
            f"Titles must be str or None: at {wrong[0]} stands {type(heads[wrong[0]]).__name__} "
            f"({len(wrong)} of {len(heads)} are neither, at {listed_indices(wrong)}). Convert or remove them.",
            wrong,
        )
    return [join_title(head, body) for head, body in zip(heads, bodies, strict=True)]
