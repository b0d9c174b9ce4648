"""Nodes for `widgets.text_tree`: [tag, class, ...children]."""

from __future__ import annotations

from typing import Any

from e5studio.studio.formatting import shown

Node = list[Any]
_LEFT = " What is shown is the result before."


def error(message: str, *, is_result_left: bool = False) -> list[Node]:
    """A sentence that says what went wrong and what to do, and one where an earlier result is still in sight."""
    return [["p", "e5-error", shown(message, 900) + (_LEFT if is_result_left else "")]]


def stopped(message: str, *, is_result_left: bool = False) -> list[Node]:
    """The same in the quiet, where nothing went wrong: a person wanted it to end."""
    return hint(message + (_LEFT if is_result_left else ""))


def progress(share: float | None, doing: str) -> list[Node]:
    """What is being done; a bar that only moves to and fro where the share is not known."""
    percent = "" if share is None else f" {share:.0%}"
    return [
        ["p", "e5-hint", f"{doing}…{percent}"],
        ["progress", "e5-progress", *([] if share is None else [f"{share}"])],
    ]


def hint(message: str) -> list[Node]:
    """A quiet sentence."""
    return [["p", "e5-hint", message]]


def prompt_code(text: str) -> Node:
    """A prompt as it is, or "nothing"."""
    # A line break inside a prompt matters and must be seen.
    return ["code", "e5-prompt", shown(text, 300).replace("\n", "↵") or "nothing"]
