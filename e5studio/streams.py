"""Standard streams as programs really have them: missing, closed, or replaced by an object that can only write."""

from __future__ import annotations

import os
import sys
from typing import Any


def is_terminal(stream: Any) -> bool:
    """Whether a person may watch a stream; False for one that is missing, closed, or does not know."""
    try:
        return bool(stream.isatty())
    except Exception:  # the stream is somebody else's object
        return False


def set_up_streams() -> None:
    """Prepare this process's own streams: none is missing, and none fails at a character that its encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before this process began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
