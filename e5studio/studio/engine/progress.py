"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

OnStage = Callable[[float | None, str], None]
"""Called with (share done or None, what the work is doing); an exception from it stops the work."""


def ignore_progress(share: float | None, doing: str) -> None:
    """Report to nobody."""
