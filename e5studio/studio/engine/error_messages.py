"""What went wrong -> one sentence for the person; what was not foreseen goes to the log."""

from __future__ import annotations

import logging

from e5studio.errors import (
    BackendError,
    CacheError,
    E5StudioError,
    MissingDependencyError,
    ModelFilesError,
    ModelUnavailableError,
    OutOfMemoryError,
)
from e5studio.studio.engine.catalog import model_here
from e5studio.studio.errors import StoppedError

_log = logging.getLogger(__name__)
_FOR_THE_HOST = (ModelUnavailableError, OutOfMemoryError, ModelFilesError, CacheError)
"""Their messages advise whoever runs the page, and name folders of its machine."""


def message_for_visitor(error: Exception) -> str:
    """A sentence that says what to do. Unforeseen errors keep their details for the log."""
    if isinstance(error, StoppedError):
        return str(error) or "Stopped."
    if isinstance(error, _FOR_THE_HOST):
        _log.warning("%s", error)
        return _for_visitors(error)
    if isinstance(error, E5StudioError):
        return str(error)
    _log.error("Unforeseen error in the Studio", exc_info=error)
    return (
        f"Something went wrong inside the Studio ({type(error).__name__}). Try again or take another model; "
        "if it stays, the details are in the log of the program that runs this page."
    )


def for_menus(error: BackendError | MissingDependencyError, *dtypes: str) -> E5StudioError:
    """What cannot be computed, where the page lets people choose a precision and what computes.

    The advice in the message is for Python and for whoever runs the page, whose log has it.

    Args:
        error: What the back end said.
        dtypes: The precisions that were asked for.
    """
    _log.warning("%s", error)
    needed = ' int8 needs the extra "int8" on the machine that runs this page: pip install ".[int8]".'
    return type(error)(
        error.fact,
        "Choose another precision, such as float32. Whoever runs this page finds in its log what would be needed."
        + (needed if "int8" in dtypes else ""),
    )


def _for_visitors(error: E5StudioError) -> str:
    """What can be done on the page, which offers neither folders nor a precision."""
    if isinstance(error, OutOfMemoryError):
        return f"{error.fact} Pick a smaller model, or shorten texts that are very long."
    here = model_here()
    other = f", or pick a model marked 'here', such as {here}" if here else ""
    if isinstance(error, ModelUnavailableError):
        return f"{error.fact} Try again later{other}."
    return (
        "What this page keeps of the model on its machine is damaged or incomplete; the log of the program that runs "
        f"it says what. Try another model{other}."
    )
