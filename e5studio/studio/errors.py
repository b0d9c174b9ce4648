"""Errors that the Studio's rooms share."""

from __future__ import annotations

from e5studio.errors import E5StudioError


class LimitError(E5StudioError, ValueError):
    """More texts or characters than the Studio takes at once."""


class FullError(E5StudioError):
    """As many wait already as may wait."""


class StoppedError(Exception):
    """The person pressed Stop."""
