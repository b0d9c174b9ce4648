"""What a link of the page holds, checked as anything that comes from strangers. Knows no Gradio."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from e5studio.errors import E5StudioError
from e5studio.studio.boxes import Limits, Separator
from e5studio.studio.catalog import offered
from e5studio.studio.uses import Use, valid_use


class LinkError(E5StudioError, ValueError):
    """A link that does not hold what a page of ours put into it."""


@dataclass(frozen=True)
class SharedInputs:
    """The inputs of a page."""

    model: str
    use: Use
    queries: str
    passages: str
    instruction: str
    separator: Separator


FIELDS: tuple[str, ...] = tuple(field.name for field in fields(SharedInputs))


def read_link(state: Any, limits: Limits) -> SharedInputs:
    """The inputs that a link holds.

    Args:
        state: What the browser unpacked.
        limits: Of the texts' length.

    Raises:
        LinkError: It is damaged, or made for another version of the page.
        UnknownModelError: Its model is not offered here.
    """
    if not isinstance(state, dict) or not all(isinstance(state.get(name), str) for name in FIELDS):
        raise LinkError("This link is damaged or cut off. Ask for it again; the texts on the page are as they were.")
    longest = max(len(state[name]) for name in FIELDS)
    if longest > limits.max_characters:
        raise LinkError(
            f"This link holds {longest:,} characters in a box; at most {limits.max_characters:,} are taken."
        )
    meta = offered(state["model"])
    separator: Separator = "blank_line" if state["separator"] == "blank_line" else "line"
    return SharedInputs(
        model=meta.name,
        use=valid_use(meta.prompt_kind, state["use"]),
        queries=state["queries"],
        passages=state["passages"],
        instruction=state["instruction"],
        separator=separator,
    )
