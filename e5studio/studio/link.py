"""What a link or a saved page holds, checked as anything that comes from strangers. Knows no Gradio."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from e5studio.errors import E5StudioError
from e5studio.studio.boxes import Limits, Separator
from e5studio.studio.catalog import offered
from e5studio.studio.handlers import ScoreRequest, ScoreResult
from e5studio.studio.mapping import Colour, MapSettings, valid_colour, valid_settings
from e5studio.studio.ordering import Order, valid_order
from e5studio.studio.uses import Use, valid_use
from e5studio.tokenization import replace_surrogates

Tab = Literal["scores", "map", "compare", "corpus", "diagnose", "code"]
TABS: tuple[Tab, ...] = get_args(Tab)


class LinkError(E5StudioError, ValueError):
    """A link or a file that does not hold what a page of ours put into it."""


@dataclass(frozen=True)
class SharedInputs:
    """The inputs of a page."""

    model: str
    use: Use
    queries: str
    passages: str
    instruction: str
    separator: Separator


@dataclass(frozen=True)
class SharedView:
    """How a page shows its result.

    Attributes:
        tab: The open tab.
        order: Of the matrix.
        placing: Of the map.
        colour: Of the map.
        cell: Row and column of the pair that is explained.
    """

    tab: Tab = "scores"
    order: Order = "written"
    placing: MapSettings = field(default_factory=MapSettings)
    colour: Colour = "role"
    cell: tuple[int, int] | None = None


@dataclass(frozen=True)
class Wish:
    """A link's view, until its inputs are scored."""

    inputs: SharedInputs
    view: SharedView


FIELDS: tuple[str, ...] = tuple(each.name for each in fields(SharedInputs))
PLACING_FIELDS: tuple[str, ...] = tuple(each.name for each in fields(MapSettings))
VIEW_FIELDS: tuple[str, ...] = ("order", "colour", "cell", *PLACING_FIELDS)
"""What a script puts into a link's "view", and "tab" beside it."""


def read_link(state: Any, limits: Limits) -> SharedInputs:
    """The inputs that a link or a file holds.

    Args:
        state: What the browser unpacked.
        limits: Of the texts' length.

    Raises:
        LinkError: It is damaged, or made for another version of the page.
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
            f"This link or file holds {longest:,} characters in a box; at most {limits.max_characters:,} are taken."
        )
    # As a text box gives them back.
    text = {name: replace_surrogates(re.sub("\r\n?", "\n", state[name])) for name in FIELDS}
    meta = offered(text["model"])
    separator: Separator = "blank_line" if text["separator"] == "blank_line" else "line"
    return SharedInputs(
        model=meta.name,
        use=valid_use(meta.prompt_kind, text["use"]),
        queries=text["queries"],
        passages=text["passages"],
        instruction=text["instruction"],
        separator=separator,
    )


def read_view(state: Any) -> SharedView:
    """How the page is to look; what is missing or odd in it is as usual, for it does no harm."""
    view = state.get("view") if isinstance(state, dict) else None
    if not isinstance(view, dict):
        return SharedView()
    return SharedView(
        tab=next((tab for tab in TABS if tab == view.get("tab")), "scores"),
        order=valid_order(view.get("order")),
        placing=valid_settings(**{name: view.get(name) for name in PLACING_FIELDS}),
        colour=valid_colour(view.get("colour")),
        cell=_cell(view.get("cell")),
    )


def fitting(wished: Wish | None, result: ScoreResult) -> SharedView | None:
    """The view that a link wishes for, if its inputs are those of the result."""
    if wished is None:
        return None
    asked, wanted = result.asked, wished.inputs
    is_it = all(getattr(asked, name) == getattr(wanted, name) for name in FIELDS)
    return wished.view if is_it else None


def saved_state(asked: ScoreRequest, view: SharedView) -> dict[str, Any]:
    """What `read_link` and `read_view` read back."""
    inputs = {name: getattr(asked, name) for name in FIELDS}
    cell = None if view.cell is None else {"row": view.cell[0], "column": view.cell[1]}
    shown = {"tab": view.tab, "order": view.order, "colour": view.colour, "cell": cell, **asdict(view.placing)}
    return {**inputs, "view": shown}


def _cell(value: Any) -> tuple[int, int] | None:
    place = (value.get("row"), value.get("column")) if isinstance(value, dict) else (None, None)
    row, column = (each if isinstance(each, int) and not isinstance(each, bool) else -1 for each in place)
    return (row, column) if row >= 0 and column >= 0 else None
