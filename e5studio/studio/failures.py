"""What went wrong -> one sentence for the person; what was not foreseen goes to the log."""

from __future__ import annotations

import logging

from e5studio.errors import E5StudioError
from e5studio.studio.state import StoppedError

_log = logging.getLogger(__name__)


def explain(error: Exception) -> str:
    """A sentence that says what to do. Unforeseen errors keep their details for the log."""
    if isinstance(error, StoppedError):
        return "Stopped. What was shown before is still shown."
    if isinstance(error, E5StudioError):
        return str(error)
    _log.error("Unforeseen error in the Studio", exc_info=error)
    return (
        f"Something went wrong inside the Studio ({type(error).__name__}). Try again or take another model; "
        "if it stays, the details are in the log of the program that runs this page."
    )
