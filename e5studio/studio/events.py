"""How the page's events run: which answer at once, and which wait for their turn.

Whatever the page itself tells in words needs no spinner of Gradio's, and what the page calls is no endpoint for
programs; those are in `e5studio.studio.api`.
"""

from __future__ import annotations

from typing import Any

_OWN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

AT_ONCE: dict[str, Any] = {**_OWN, "queue": False}
"""For what takes a moment."""

ENCODING: dict[str, Any] = {**_OWN, "concurrency_id": "encode", "concurrency_limit": 1}
"""For what runs a model: one at a time in this process."""

PROJECTING: dict[str, Any] = {**_OWN, "concurrency_id": "project", "concurrency_limit": 1}
"""For what places texts on a map: one at a time in this process."""
