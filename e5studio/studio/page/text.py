"""Sentences of the page around the tabs."""

from __future__ import annotations

NOTE_RESTORED = "Your texts from before the reload are back. Press Score."
NOTE_DAMAGED = "Your texts from before the reload could not be restored."
NOTHING_TO_SAVE = "There is nothing to save yet. Press Score."


def opened(*, is_model_here: bool) -> str:
    """What the status says once a link has filled the form."""
    return "Opened from a link." if is_model_here else "Opened from a link. Score fetches the model first."
