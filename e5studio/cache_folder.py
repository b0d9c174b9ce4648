"""Where E5 Studio puts files that it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for files that E5 Studio can make again: E5STUDIO_CACHE, or the system's folder for caches."""
    chosen = os.environ.get("E5STUDIO_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))  # leaves ~ alone where nobody has a home, as Path would not
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or os.path.expanduser("~/.cache")) / "e5studio"
