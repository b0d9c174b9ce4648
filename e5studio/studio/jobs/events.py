"""How the page's events run: which answer at once, which wait for their turn, and what came too late.

Whatever the page itself tells in words needs no spinner of Gradio's, and what the page calls is no endpoint for
programs; those are in `e5studio.studio.api.endpoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from e5studio.studio.engine.result import ScoreResult

_OWN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

UNQUEUED: dict[str, Any] = {**_OWN, "queue": False}
"""For what takes a moment."""

ENCODE_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "encode", "concurrency_limit": None}
"""For what runs a model. It begins at once, to tell how long the line is, and waits in `Engine.encode_queue`."""

PROJECT_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "project", "concurrency_limit": 1}
"""For what places texts on a map or groups them: one at a time in this process."""

READ_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "read", "concurrency_limit": 2}
"""For what reads files of thousands of texts: two at a time in this process."""

EMBED_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "embed", "concurrency_limit": None}
"""For what embeds thousands of texts: as `ENCODE_QUEUE`, in `Engine.corpus_queue`."""

PLACE_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "place", "concurrency_limit": 1}
"""For maps of thousands of texts: one at a time in this process."""

DIAGNOSE_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "diagnose", "concurrency_limit": None}
"""For what compares thousands of texts with each other: as `ENCODE_QUEUE`, in `Engine.diagnosis_queue`."""

SAVE_QUEUE: dict[str, Any] = {**_OWN, "concurrency_id": "save", "concurrency_limit": 1}
"""For what writes files: one at a time in this process."""


Changes = dict[Any, Any]
"""What a callback changes, by component; what is left out stays as it is."""


def components_of(*parts: Any) -> list[Any]:
    """All components of tabs or panels, for the `outputs` of a callback that changes any of them.

    Args:
        parts: Components, or objects whose attributes are components or such objects.
    """
    listed: dict[int, Any] = {}
    for part in parts:
        if isinstance(part, Block):
            listed[part._id] = part
        elif type(part).__module__.startswith("e5studio.studio"):
            listed |= {each._id: each for each in components_of(*vars(part).values())}
    return list(listed.values())


@dataclass(frozen=True)
class PendingOutput:
    """What was computed for a result, before it is known whether the page still shows that result.

    Attributes:
        of: The result's key.
        changes: What it changes on the page.
    """

    of: str
    changes: Changes


def pending_state() -> gr.State:
    """Where an event leaves its `PendingOutput`."""
    return gr.State(None)


def show_if_current(event: Any, pending: gr.State, result: gr.State, outputs: Sequence[Any]) -> Any:
    """After an event: show its pending output, or drop it where the page shows another result by now.

    Args:
        event: The event that writes `pending`.
        pending: Of `pending_state`.
        result: What the page shows.
        outputs: The components that the pending output may change.
    """

    def show(current: ScoreResult | None, output: PendingOutput | None) -> Changes:
        if current is None or output is None or output.of != current.key:
            return {}
        return {pending: None, **output.changes}

    return event.then(show, [result, pending], [pending, *outputs], **UNQUEUED)


def cell_of(event: gr.EventData) -> tuple[int, int] | None:
    """Row and column of the cell that was picked; None for a forged event."""
    row, column = (fields_of(event).get(name) for name in ("row", "column"))
    return (row, column) if isinstance(row, int) and isinstance(column, int) else None


def fields_of(event: gr.EventData) -> dict[str, Any]:
    """What a script of ours sent with an event; nothing where it is no object, as only a forged one is."""
    return event._data if isinstance(event._data, dict) else {}
