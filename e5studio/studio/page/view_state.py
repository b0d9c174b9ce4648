"""How a page shows its result: the open tab, the order, the map's settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from e5studio.studio.engine.result import ScoreRequest, ScoreResult
from e5studio.studio.form.link import FIELDS, SharedForm
from e5studio.studio.map.placing import Colour, MapSettings, valid_colour, valid_settings
from e5studio.studio.scores.order import Order, valid_order

Tab = Literal["scores", "map", "compare", "corpus", "diagnose", "code"]
TABS: tuple[Tab, ...] = get_args(Tab)


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
class PendingView:
    """A link's view, until its inputs are scored."""

    inputs: SharedForm
    view: SharedView


PLACING_FIELDS: tuple[str, ...] = tuple(each.name for each in fields(MapSettings))
VIEW_FIELDS: tuple[str, ...] = ("order", "colour", "cell", *PLACING_FIELDS)
"""What a script puts into a link's "view", and "tab" beside it."""


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


def view_for(pending_view: PendingView | None, result: ScoreResult) -> SharedView | None:
    """The view that a link wishes for, if its inputs are those of the result."""
    if pending_view is None:
        return None
    asked, wanted = result.request, pending_view.inputs
    is_it = all(getattr(asked, name) == getattr(wanted, name) for name in FIELDS)
    return pending_view.view if is_it else None


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
