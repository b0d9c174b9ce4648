"""Which texts are in another language than that of a model made for English alone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

from e5studio.analysis.languages import LanguageFinder, language_finder, main_script
from e5studio.errors import MissingDependencyError

_MIN_WORDS = 5
"""Of fewer Latin words the finder takes dishes and names for the language that they come from."""
_MIN_LETTERS = 2
"""A single Greek letter is a symbol."""


def foreign_texts(texts: Sequence[str]) -> list[tuple[int, str]]:
    """(place, language) of the texts that are hardly English; a script where the language is in doubt.

    Short texts in Latin letters are in doubt, and not named. Where py3langid is missing, scripts alone tell.
    """
    named = [(place, _language(text)) for place, text in enumerate(texts)]
    return [(place, name) for place, name in named if name is not None]


@functools.cache
def warm_finder() -> threading.Thread:
    """Load what tells languages apart in the background, for it takes half a second; a second call does nothing."""
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
