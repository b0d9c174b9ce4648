"""Sentences of the page around the tabs."""

from __future__ import annotations

NOTE_RESTORED = "Your texts from before the reload are back."
OPENED = "Opened from a link."
NOTE_DAMAGED = "Your texts from before the reload could not be restored."
NOTHING_TO_SAVE = "There is nothing to save yet. Press Score."
