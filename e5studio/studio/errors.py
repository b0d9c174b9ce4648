"""Errors that the Studio's rooms share."""

from __future__ import annotations

from e5studio.errors import E5StudioError


class LimitError(E5StudioError, ValueError):
    """More texts, characters or bytes than the Studio takes at once."""


class FullError(E5StudioError):
    """The queue is full.

    Attributes:
        seconds: The time that all before take; None if nobody knows.
    """

    def __init__(self, fact: str, advice: str = "", seconds: float | None = None) -> None:
        super().__init__(fact, advice)
        self.seconds = seconds


class StoppedError(Exception):
    """The visitor pressed Stop, or began other work."""
