"""An own folder for what visitors upload, where nothing grows old: Gradio forgets files that broke off on their way."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from e5studio.errors import TextError
from e5studio.studio.boxes import shown

KEPT_SECONDS = 3600
"""How long a file is kept after it was written last."""

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "e5studio-uploads-"


def use_own_folder() -> None:
    """Have Gradio write uploads where nothing else lies, unless whoever runs the page chose a folder.

    Must run before the page is built. The folder goes with the process.
    """
    if os.environ.get(_VARIABLE):
        return
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    os.environ[_VARIABLE] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def still_there(path: Path) -> Path:
    """A file that a page brought, if it is still here.

    Raises:
        TextError: It is not: it is old, or Gradio's one copy of equal files went with another page.
    """
    if not path.is_file():
        raise TextError(
            f"{shown(path.name, 80)} is no longer on the server: files go after an hour, or with the other page that "
            "brought the same one. Choose it again."
        )
    return path


def delete_old(kept_seconds: float = KEPT_SECONDS) -> None:
    """Delete what is old in the own folder; in one that somebody else chose, nothing."""
    folder = Path(os.environ.get(_VARIABLE, ""))
    if not folder.name.startswith(_PREFIX):
        return
    begin = time.time() - kept_seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what lies in a folder comes before the folder
        with suppress(OSError):  # somebody may be deleting it already, and folders may not be empty
            if path.is_dir():
                path.rmdir()
            elif path.stat().st_mtime < begin:
                path.unlink()
