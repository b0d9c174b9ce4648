"""Finds texts in other languages, for models that know English alone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

from e5studio.analysis.languages import LanguageFinder, language_finder, main_script
from e5studio.errors import MissingDependencyError

_MIN_WORDS = 5
"""With fewer Latin words the finder takes dishes and names for the language that they come from."""
_MIN_LETTERS = 2
"""A single Greek letter is a symbol."""


def foreign_texts(texts: Sequence[str]) -> list[tuple[int, str]]:
    """(index, language) of the texts that are hardly English; a script where the language is in doubt.

    Leaves out short texts in Latin letters, which are in doubt. Without py3langid only the script is known.
    """
    named = [(index, _language(text)) for index, text in enumerate(texts)]
    return [(index, name) for index, name in named if name is not None]


@functools.cache
def warm_finder() -> threading.Thread:
    """Load the language finder in the background, which takes half a second; a second call does nothing."""
    thread = threading.Thread(target=_finder, daemon=True)
    thread.start()
    return thread


@functools.cache
def _finder() -> LanguageFinder:
    try:
        return language_finder()
    except MissingDependencyError:
        return lambda text: None


def _language(text: str) -> str | None:
    script = main_script(text)
    if script is None:
        return None
    if script != "Latin":
        has_letters = sum(character.isalpha() for character in text) >= _MIN_LETTERS
        return (_finder()(text) or f"{script} script") if has_letters else None
    if len(text.split()) < _MIN_WORDS:
        return None
    language = _finder()(text)
    return None if language == "English" else language
