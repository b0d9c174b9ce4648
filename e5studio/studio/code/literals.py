"""Visitors' texts -> literals with exactly their content: in Python, in JSON, and in a shell. Pure.

Invisible characters are escaped, so that a line break, a control character or a direction mark can neither end a
literal nor disguise code. Lone surrogates are written as the U+FFFD that the model read instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from e5studio.tokenization import replace_surrogates


def python_text(text: str) -> str:
    """A Python literal in double quotes."""
    return '"' + "".join(map(_python_character, replace_surrogates(text))) + '"'


def python_list(texts: Sequence[str]) -> str:
    """A Python list, a line for each text."""
    return "[\n" + "".join(f"    {python_text(text)},\n" for text in texts) + "]"


def json_text(value: object) -> str:
    """JSON on one line; letters of other scripts stay letters."""
    clean = json.dumps(_clean(value), ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in clean)


def shell_json(value: object) -> str:
    """JSON on one line without a single quote, to stand between single quotes in a POSIX shell."""
    return json_text(value).replace("'", "\\u0027")


def _python_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else repr(character)[1:-1]


def _clean(value: object) -> object:
    if isinstance(value, str):
        return replace_surrogates(value)
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value
