"""An error -> a message for the visitor; details of unexpected errors go to the log."""

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
from e5studio.memory import is_out_of_memory, too_little_memory
from e5studio.studio.engine.catalog import model_here
from e5studio.studio.errors import StoppedError

_log = logging.getLogger(__name__)
_FOR_THE_HOST = (ModelUnavailableError, OutOfMemoryError, ModelFilesError, CacheError)
"""Errors whose messages are for the host of the page: they name folders of its machine."""


def message_for_visitor(error: Exception) -> str:
    """A message that says what to do; the log has the details of unexpected errors."""
    if isinstance(error, StoppedError):
        return str(error) or "Stopped."
    if is_out_of_memory(error):
        _log.warning("Too little memory", exc_info=error)
        error = too_little_memory()
    if isinstance(error, _FOR_THE_HOST):
        _log.warning("%s", error)
        return _for_visitors(error)
    if isinstance(error, E5StudioError):
        return str(error)
    _log.error("Unexpected error in the Studio", exc_info=error)
    return (
        f"Something went wrong inside the Studio ({type(error).__name__}). Try again or take another model; "
        "if it happens again, the details are in the log of the program that runs this page."
    )


def for_menus(error: BackendError | MissingDependencyError, *dtypes: str) -> E5StudioError:
    """The same error with advice for a page with menus for precision and backend.

    The error's own advice is for Python and for the host of the page; it goes to the log.

    Args:
        error: An error of a backend.
        dtypes: The precisions chosen on the page.
    """
    _log.warning("%s", error)
    needed = ' int8 needs OpenVINO on the machine that runs this page: pip install ".[openvino]".'
    return type(error)(
        error.fact,
        "Choose another precision, such as float32. The log of the program that runs this page says what is missing."
        + (needed if "int8" in dtypes else ""),
    )


def _for_visitors(error: E5StudioError) -> str:
    """The error with advice that a visitor can follow: a page offers no folders."""
    if isinstance(error, OutOfMemoryError):
        return f"{error.fact} Pick a smaller model, or shorten texts that are very long."
    here = model_here()
    other = f", or pick a model that is downloaded already, such as {here}" if here else ""
    if isinstance(error, ModelUnavailableError):
        return f"{error.fact} Try again later{other}."
    return (
        "The model's files on the server are damaged or incomplete; the log of the program that runs this page says "
        f"which. Try another model{other}."
    )
