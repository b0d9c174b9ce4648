"""The fields of a request's body, typed: what has another type is refused by its name, and never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from e5studio.server.preparation import Cut
from e5studio.server.request_errors import RequestError

_MAX_SHOWN = 40

Body = dict[str, Any]


def refuse(param: str, message: str) -> NoReturn:
    """Refuse a field."""
    raise RequestError("invalid", message, param=param)


def text_field(body: Body, name: str, default: str | None = None) -> str | None:
    """A short text, such as a name."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        refuse(name, f"`{name}` must be a text.")
    return value


def flag(body: Body, name: str, default: bool) -> bool:
    """True or false."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        refuse(name, f"`{name}` must be true or false.")
    return value


def whole_number(body: Body, name: str) -> int | None:
    """A number without a fraction; true is none."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        refuse(name, f"`{name}` must be a whole number.")
    return value


def choice(body: Body, name: str, choices: Sequence[str], default: str) -> str:
    """One of several words."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in choices:
        shown = f" not {value[:_MAX_SHOWN]!r}" if isinstance(value, str) else ""
        refuse(name, f"`{name}` must be one of {', '.join(map(repr, choices))},{shown}".rstrip(",") + ".")
    return value


def texts_field(body: Body, name: str, *, max_items: int, allow_one: bool = True) -> list[str]:
    """A list of texts, or one as a list of one.

    Raises:
        RequestError: It is missing, empty, too long, or has something else in it; with its index.
    """
    value = body.get(name)
    if isinstance(value, str) and allow_one:
        return [value]
    if value is None:
        refuse(name, f"`{name}` is missing: the texts to embed.")
    if not isinstance(value, list):
        refuse(name, f"`{name}` must be a list of texts{' or one text' if allow_one else ''}.")
    check_number(value, name, max_items)
    for index, text in enumerate(value):
        if not isinstance(text, str):
            raise RequestError(
                "invalid", f"`{name}` must hold texts only: number {index} (from 0) is none.", param=f"{name}.{index}"
            )
    return value


def check_number(items: list[Any], name: str, max_items: int) -> None:
    """Refuse an empty list, and one that is too long."""
    if not items:
        raise RequestError("empty", f"`{name}` cannot be empty", param=name)
    if len(items) > max_items:
        raise RequestError("too_many", f"batch size {len(items)} > maximum allowed batch size {max_items}", param=name)


def dimensions_field(body: Body, names: Sequence[str], embed_dim: int) -> int | None:
    """How many dimensions to keep, by the first of the names that is there; None for all."""
    numbers = [_dimensions(body, name, embed_dim) for name in names]
    number = next((each for each in numbers if each is not None), None)
    return None if number == embed_dim else number


def _dimensions(body: Body, name: str, embed_dim: int) -> int | None:
    number = whole_number(body, name)
    if number is not None and not 1 <= number <= embed_dim:
        refuse(name, f"`{name}` must be positive and at most {embed_dim}, the dimensions of this model.")
    return number


def cut_field(body: Body, names: Sequence[str] = ("truncate", "truncation")) -> Cut:
    """What happens to long texts, by the first of the names that is there."""
    cuts = [_cut(body, name) for name in names]
    return next((each for each in cuts if each is not None), "end")


def _cut(body: Body, name: str) -> Cut | None:
    """What one field says: where texts are cut, or whether."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool):
        return "end" if value else "refuse"
    cuts: dict[str, Cut] = {"none": "refuse", "start": "start", "end": "end", "left": "start", "right": "end"}
    if not isinstance(value, str) or value.lower() not in cuts:
        refuse(name, f"`{name}` must be true or false, or 'NONE', 'START' or 'END'.")
    return cuts[value.lower()]
