"""The form in a link or a saved page; checked, for it comes from strangers."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from e5studio.errors import E5StudioError
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.prompt_modes import PromptMode, valid_prompt_mode
from e5studio.studio.engine.text_box import Limits, Separator
from e5studio.tokenization import replace_surrogates


class LinkError(E5StudioError, ValueError):
    """The link or file holds no page of this Studio."""


@dataclass(frozen=True)
class SharedForm:
    """What a form holds."""

    model: str
    prompt_mode: PromptMode
    queries: str
    passages: str
    instruction: str
    separator: Separator


FIELDS: tuple[str, ...] = tuple(each.name for each in fields(SharedForm))


def read_link(state: Any, catalog: Catalog, limits: Limits) -> SharedForm:
    """The form that a link or a file holds.

    Args:
        state: What the browser unpacked.
        catalog: The models that are offered here.
        limits: Of the texts' length.

    Raises:
        LinkError: It is damaged, or of another version of the page.
        UnknownModelError: Its model is not offered here.
    """
    if not isinstance(state, dict) or not all(isinstance(state.get(name), str) for name in FIELDS):
        raise LinkError(
            "This link or file holds no page of E5 Studio, or is damaged. The page is as it was. A file of texts goes "
            "to the Corpus tab."
        )
    longest = max(len(state[name]) for name in FIELDS)
    if longest > limits.max_characters:
        raise LinkError(
            f"This link or file holds {longest:,} characters in one box; the limit is {limits.max_characters:,}."
        )
    # As a text box returns them.
    text = {name: replace_surrogates(re.sub("\r\n?", "\n", state[name])) for name in FIELDS}
    meta = catalog.offered(text["model"])
    separator: Separator = "blank_line" if text["separator"] == "blank_line" else "line"
    return SharedForm(
        model=meta.name,
        prompt_mode=valid_prompt_mode(meta.prompt_kind, text["prompt_mode"]),
        queries=text["queries"],
        passages=text["passages"],
        instruction=text["instruction"],
        separator=separator,
    )
