"""Event settings: unqueued events, concurrency groups, and results that come too late.

Gradio shows no spinner of its own: the page reports progress in words. The page's events are no endpoints for programs;
those are in `e5studio.studio.api.endpoints`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.studio.engine.queues import EVENTS_AT_ONCE
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.serving.gradio_patches import data_of, is_component

# With no component to show progress on: otherwise Gradio's script gives every output of every event that ever ran the
# state of each event, hidden or not, which took half of the browser's time from a click on Score to the scores.
# An event that comes while the one before still runs is run once more, with what the page holds by then. Gradio would
# drop it, and the page would go on showing what the first one made of older inputs.
_OF_THE_PAGE: dict[str, Any] = {
    "show_progress": "hidden",
    "show_progress_on": [],
    "api_visibility": "private",
    "trigger_mode": "always_last",
}


def _queued(name: str) -> dict[str, Any]:
    return {**_OF_THE_PAGE, "concurrency_id": name, "concurrency_limit": EVENTS_AT_ONCE[name]}


UNQUEUED: dict[str, Any] = {**_OF_THE_PAGE, "queue": False}
"""Events that take a moment."""

ENCODE_QUEUE = _queued("encode")
"""Events that run a model; they wait in `Engine.encode_queue`."""

EMBED_QUEUE = _queued("embed")
"""Events that embed thousands of texts; they wait in `Engine.corpus_queue`."""

DIAGNOSE_QUEUE = _queued("diagnose")
"""Events that compare thousands of texts with each other; they wait in `Engine.diagnosis_queue`."""

READ_QUEUE = _queued("read")
"""Events that read files of thousands of texts."""

PROJECT_QUEUE = _queued("project")
"""Events that place texts on a map or group them."""

PLACE_QUEUE = _queued("place")
"""Events that place thousands of texts on a map."""

SAVE_QUEUE = _queued("save")
"""Events that write files."""


ONCE: dict[str, Any] = {"trigger_mode": "once"}
"""Added to the settings of an event that starts long work: a second press while it runs does nothing."""

EACH: dict[str, Any] = {"trigger_mode": "multiple"}
"""Added to the settings of an event that says what was picked, which Gradio would forget of a second one."""


Changes = dict[Any, Any]
"""What a callback changes, by component; what is left out stays as it is."""


def components_of(*parts: Any) -> list[Any]:
    """All components of tabs or panels, for the `outputs` of a callback that changes any of them.

    Args:
        parts: Components, or objects whose attributes are components or such objects.
    """
    components: dict[Any, None] = {}  # in order, each once
    for part in parts:
        if is_component(part):
            components[part] = None
        elif type(part).__module__.startswith("e5studio.studio"):
            components |= dict.fromkeys(components_of(*vars(part).values()))
    return list(components)


@dataclass(frozen=True)
class PendingOutput:
    """What was computed for a result, before it is known whether the page still shows that result.

    Attributes:
        of: The result's key.
        changes: What it changes on the page.
        choices: What the visitor had chosen, as it was made for.
    """

    of: str
    changes: Changes
    choices: tuple[Any, ...] = ()


NOTHING_PENDING = PendingOutput("", {})
"""What an event leaves that has nothing to show."""


def pending_state() -> gr.State:
    """Where an event leaves its `PendingOutput`."""
    return gr.State(None)


def show_if_current(
    event: Any,
    pending: gr.State,
    result: gr.State,
    outputs: Sequence[Any],
    choices: Sequence[Any] = (),
    again: Callable[..., Changes] = lambda *_: {},
) -> Any:
    """After an event: show its pending output, or drop it where the page shows another result by now.

    The output stays pending. Were it cleared, an event that comes close behind would find nothing, though its progress
    has just replaced what the first one showed.

    Args:
        event: The event that writes `pending`.
        pending: Of `pending_state`.
        result: What the page shows.
        outputs: The components that the pending output may change.
        choices: Where the visitor chooses what it is made for.
        again: What to show where something else is chosen by now, from the result, the pending output and the choices;
            nothing if another event, of that choice, will.
    """

    def show(current: ScoreResult | None, output: PendingOutput | None, *chosen: Any) -> Changes:
        if not current or not output or output.of != current.key:
            return {}
        return output.changes if output.choices == chosen else again(current, output, *chosen)

    return event.then(show, [result, pending, *choices], outputs, **UNQUEUED)


def cell_of(event: gr.EventData) -> tuple[int, int] | None:
    """Row and column of the cell that was picked; None for a forged event."""
    row, column = (fields_of(event).get(name) for name in ("row", "column"))
    return (row, column) if isinstance(row, int) and isinstance(column, int) else None


def fields_of(event: gr.EventData) -> dict[str, Any]:
    """What our script sent with an event; empty if it is no object, which only a forged event has."""
    data = data_of(event)
    return data if isinstance(data, dict) else {}
