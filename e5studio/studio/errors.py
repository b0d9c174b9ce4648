"""Errors that the Studio's rooms share."""

from __future__ import annotations

from e5studio.errors import E5StudioError


class LimitError(E5StudioError, ValueError):
    """More texts, characters or bytes than the Studio takes at once."""


class FullError(E5StudioError):
    """The queue is full."""


class StoppedError(Exception):
    """The visitor pressed Stop, or began other work."""
