"""Nodes for `widgets.text_tree`: [tag, class, ...children], where a child is a node or a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e5studio.studio.formatting import shown

Node = list[Any]
Child = Node | str

DONE = "e5-done"
"""Class of a status that says that work is done."""

_PREVIOUS = " Showing the previous result."


def para(*children: Child, css: str = "") -> Node:
    """A paragraph."""
    return ["p", css, *children]


def span(*children: Child, css: str = "") -> Node:
    """A part of a line."""
    return ["span", css, *children]


def pick(key: str, label: str) -> Node:
    """A small button; a click on it fires the event `pick` of `text_tree` with its key."""
    return ["pick", key, label]


def title(text: str) -> Node:
    """A heading within a tab."""
    return ["h3", "", text]


def items(entries: Iterable[Child], css: str = "") -> Node:
    """A list."""
    return ["ul", "", *(["li", css, entry] for entry in entries)]


def pairs(entries: Iterable[tuple[str, str]], css: str = "e5-pair") -> Node:
    """Names, each with its text."""
    return ["dl", css, *(node for name, text in entries for node in (["dt", "", name], ["dd", "", text]))]


def hint(message: str) -> list[Node]:
    """A quiet sentence."""
    return [para(message, css="e5-hint")]


def invitation(offer: str, how: str) -> list[Node]:
    """What an empty tab offers, and how to get it."""
    return [para(offer, css="e5-empty-title"), *hint(how)]


def done(message: str, *, is_doubtful: bool = False) -> list[Node]:
    """A status that says that work is done; amber where its result is to be doubted."""
    return [para(message, css=f"{DONE} e5-doubtful" if is_doubtful else DONE)]


def error(message: str, *, is_result_left: bool = False) -> list[Node]:
    """What went wrong and what to do; with a sentence more where an earlier result is still in sight."""
    return [para(shown(message, 900) + (_PREVIOUS if is_result_left else ""), css="e5-error")]


def stopped(message: str, *, is_result_left: bool = False) -> list[Node]:
    """As `error`, but quiet: the visitor stopped the work."""
    return hint(message + (_PREVIOUS if is_result_left else ""))


def progress(share: float | None, doing: str) -> list[Node]:
    """What is being done; the bar moves to and fro where the share is unknown."""
    percent = "" if share is None else f" {share:.0%}"
    return [*hint(f"{doing}…{percent}"), ["progress", "e5-progress", *([] if share is None else [f"{share}"])]]


def prompt_code(text: str) -> Node:
    """A prompt as it is, or "nothing"."""
    # A line break inside a prompt matters and must be seen.
    return ["code", "e5-prompt", shown(text, 300).replace("\n", "↵") or "nothing"]
