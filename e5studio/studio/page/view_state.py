"""How a page shows its result: the open tab, the order, the map's settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from e5studio.studio.engine.result import ScoreRequest, ScoreResult
from e5studio.studio.form.link import FIELDS, SharedForm
from e5studio.studio.map.placing import Colour, MapSettings, valid_colour, valid_settings
from e5studio.studio.scores.order import SHADINGS, Order, Shading, valid_order

Tab = Literal["scores", "map", "compare", "corpus", "diagnose", "code"]
TABS: tuple[Tab, ...] = get_args(Tab)


@dataclass(frozen=True)
class SharedView:
    """How a page shows its result.

    Attributes:
        tab: The open tab; None for whichever is open.
        order: Of the matrix.
        placing: Of the map.
        colour: Of the map.
        cell: Row and column of the pair that is explained.
        shading: Of the matrix; None for the result's usual one.
    """

    tab: Tab | None = "scores"
    order: Order = "written"
    placing: MapSettings = field(default_factory=MapSettings)
    colour: Colour = "role"
    cell: tuple[int, int] | None = None
    shading: Shading | None = None


@dataclass(frozen=True)
class PendingView:
    """A link's view, until its texts are scored."""

    form: SharedForm
    view: SharedView


PLACING_FIELDS: tuple[str, ...] = tuple(each.name for each in fields(MapSettings))
CHOICE_FIELDS: tuple[str, ...] = ("order", "shading", "colour", *PLACING_FIELDS)
"""What a script notes for a reload."""
VIEW_FIELDS: tuple[str, ...] = ("cell", *CHOICE_FIELDS)
"""What a script puts into a link's "view", and "tab" beside it."""


def read_view(state: Any) -> SharedView:
    """The view that a link or a file holds; what is missing or invalid in it becomes the default."""
    view = state.get("view") if isinstance(state, dict) else None
    if not isinstance(view, dict):
        return SharedView()
    return SharedView(
        tab=next((tab for tab in TABS if tab == view.get("tab")), "scores"),
        order=valid_order(view.get("order")),
        shading=next((each for each in SHADINGS if each == view.get("shading")), None),
        placing=valid_settings(**{name: view.get(name) for name in PLACING_FIELDS}),
        colour=valid_colour(view.get("colour")),
        cell=_cell(view.get("cell")),
    )


def view_for(pending_view: PendingView | None, result: ScoreResult | None) -> SharedView | None:
    """A link's view, if its form is the request of the result."""
    if pending_view is None or result is None:
        return None
    is_same = all(getattr(result.request, name) == getattr(pending_view.form, name) for name in FIELDS)
    return pending_view.view if is_same else None


def saved_state(request: ScoreRequest, view: SharedView) -> dict[str, Any]:
    """What `read_link` and `read_view` read back."""
    form = {name: getattr(request, name) for name in FIELDS}
    cell = None if view.cell is None else {"row": view.cell[0], "column": view.cell[1]}
    shown = {
        "tab": view.tab,
        "order": view.order,
        "shading": view.shading,
        "colour": view.colour,
        "cell": cell,
        **asdict(view.placing),
    }
    return {**form, "view": shown}


def _cell(value: Any) -> tuple[int, int] | None:
    indices = (value.get("row"), value.get("column")) if isinstance(value, dict) else (None, None)
    row, column = (index if isinstance(index, int) and not isinstance(index, bool) else -1 for index in indices)
    return (row, column) if row >= 0 and column >= 0 else None
