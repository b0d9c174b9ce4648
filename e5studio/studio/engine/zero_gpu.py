"""Hugging Face ZeroGPU lends a GPU only to functions that its `spaces` package has wrapped."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])

_SECONDS = 30


def is_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space with its package."""
    return bool(os.environ.get("SPACES_ZERO_GPU")) and importlib.util.find_spec("spaces") is not None


def import_before_torch() -> None:
    """Import `spaces` before torch looks for a GPU, as `spaces` requires; does nothing elsewhere."""
    if is_zero_gpu():
        importlib.import_module("spaces")


def on_gpu(function: Function) -> Function:
    """The function, wrapped on ZeroGPU and as it is elsewhere.

    A wrapped function runs in another process: its arguments and its result must be picklable.
    """
    if not is_zero_gpu():
        return function
    wrapped: Function = importlib.import_module("spaces").GPU(duration=_SECONDS)(function)
    return wrapped
