"""The JSON files of a model: each value is checked for its kind where it is read.

A refusal names the file, the field, its value and what is valid. What the values mean is no matter here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e5studio.errors import ModelFilesError

_LONGEST_VALUE = 80  # characters of a value in a message
FETCH_AGAIN = "Fetch or save the file again."


@dataclass(frozen=True)
class Kind:
    """What the values of a field may be.

    Attributes:
        name: Completes "it must be ...".
        accepts: Whether a value is one.
    """

    name: str
    accepts: Callable[[Any], bool]


def whole(least: int, most: int | None = None) -> Kind:
    """Whole numbers from `least` to `most`."""
    name = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
    return Kind(name, lambda value: type(value) is int and least <= value and (most is None or value <= most))


def exactly(expected: object) -> Kind:
    """One value, where the model could not be used as another says."""
    return Kind(json.dumps(expected), lambda value: type(value) is type(expected) and value == expected)


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """Lists with entries of one kind."""
    name = f"a list with {kind.name} in each entry" if length is None else f"a list of {length}, each {kind.name}"
    return Kind(
        name,
        lambda value: isinstance(value, list) and length in (None, len(value)) and all(map(kind.accepts, value)),
    )


def mapping_to(kind: Kind) -> Kind:
    """Objects with values of one kind."""
    return Kind(
        f"an object with {kind.name} in each field",
        lambda value: isinstance(value, dict) and all(map(kind.accepts, value.values())),
    )


def either(*kinds: Kind) -> Kind:
    """Values of any of several kinds."""
    return Kind(" or ".join(kind.name for kind in kinds), lambda value: any(kind.accepts(value) for kind in kinds))


POSITIVE = whole(1)
SIZE = whole(1, 2**31 - 1)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str))
NULL = exactly(None)
NUMBER = Kind(
    "a finite number",
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
)
NOTHING = Kind(
    "left out", lambda value: value is None or value is False or (isinstance(value, str | list | dict) and not value)
)


@dataclass(frozen=True)
class JsonObject:
    """The fields of a JSON object, and where they were read.

    Attributes:
        path: Its file, for messages.
        fields: What it holds.
    """

    path: Path
    fields: Mapping[str, Any]

    def get(self, field: str, kind: Kind, *, advice: str = FETCH_AGAIN) -> Any:
        """The value of a field, or None where it is absent or null.

        Raises:
            ModelFilesError: It is of another kind.
        """
        value = self.fields.get(field)
        return None if value is None else self.need(field, kind, advice=advice)

    def need(self, field: str, kind: Kind, *, advice: str = FETCH_AGAIN) -> Any:
        """The value of a field that may not be absent.

        Raises:
            ModelFilesError: It is absent or of another kind.
        """
        value = self.fields.get(field)
        if not kind.accepts(value):
            raise self.refusal(field, f"it must be {kind.name}", advice)
        return value

    def refusal(self, field: str, fact: str, advice: str) -> ModelFilesError:
        """An error about the value of a field.

        Args:
            field: Its name.
            fact: What is wrong with it, to stand after "config.json says pad_token_id 'x', but".
            advice: What to do.
        """
        name = field if field.isprintable() else repr(field)
        return ModelFilesError(f"{self.path} says {name} {shown(self.fields.get(field))}, but {fact}.", advice)


def shown(value: object) -> str:
    """A value for a message."""
    text = repr(value) if isinstance(value, str | None) else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def read_object(path: Path) -> JsonObject:
    """The JSON object in a file; an empty one where there is no file.

    Raises:
        ModelFilesError: The file holds no JSON, or something else than an object.
    """
    return JsonObject(path, read_fields(path))


def read_fields(path: Path) -> dict[str, Any]:
    """As `read_object`, without the file's name."""
    if not path.is_file():
        return {}
    content = parse(path)
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path} holds no JSON object. {FETCH_AGAIN}")
    return content


def parse(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ModelFilesError: It holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFilesError(f"{path} is not valid JSON ({error}). {FETCH_AGAIN}") from error
    except OSError as error:
        raise ModelFilesError(f"{path} cannot be read ({error.strerror}).", "Check its permissions.") from error
