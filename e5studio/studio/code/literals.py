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


def json_text(value: object, indent: int | None = None) -> str:
    """JSON, on one line unless it is indented; letters of other scripts stay letters."""
    lines = json.dumps(_clean(value), ensure_ascii=False, indent=indent).split("\n")
    return "\n".join("".join(map(_json_character, line)) for line in lines)


def shell_json(value: object, indent: int | None = None) -> str:
    """JSON without a single quote, to stand between single quotes in a POSIX shell."""
    return json_text(value, indent).replace("'", "\\u0027")


def _python_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else repr(character)[1:-1]


def _json_character(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _clean(value: object) -> object:
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, dict):
        return {name: _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value
