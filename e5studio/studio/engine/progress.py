"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

OnStage = Callable[[float | None, str], None]
"""Called with (share done or None, what is being done); what it raises stops the work."""


def ignore_progress(share: float | None, words: str) -> None:
    """Report to nobody."""
