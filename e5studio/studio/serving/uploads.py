"""Own folders for what visitors bring and take, where nothing grows old: Gradio forgets files that broke off.

A folder goes with its process, and where that was killed, when the next one starts.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from e5studio.errors import TextError
from e5studio.studio.formatting import shown

KEPT_SECONDS = 3600
"""How long a file is kept after it was written last."""

_UNCLAIMED_SECONDS = 600  # of files that no page has read
_MAX_BYTES = 2_000_000_000  # of all uploaded files
_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "e5studio-"
_UPLOADS = "uploads"
_own_folders: list[Path] = []


def use_own_folder() -> None:
    """Have Gradio write uploads where nothing else lies, unless whoever runs the page chose a folder.

    Must run before the page is built.
    """
    _delete_left()
    if not os.environ.get(_VARIABLE):
        os.environ[_VARIABLE] = str(new_folder(_UPLOADS))


def new_folder(kind: str) -> Path:
    """A folder that goes with this process, or when the next Studio starts."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-{os.getpid()}-"))
    if not _own_folders:
        atexit.register(delete_folders)
    _own_folders.append(folder)
    return folder


def delete_folders() -> None:
    """Delete the folders of this process, which is about to end; a fork of it must not delete its parent's."""
    for folder in _own_folders:
        if _process_of(folder) == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)


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


def has_room() -> bool:
    """Whether the own folder takes more files; one that somebody else chose always does."""
    n_bytes = 0
    for path in _uploaded():
        with suppress(OSError):  # somebody may be deleting it
            n_bytes += path.stat().st_size if path.is_file() else 0
    return n_bytes <= _MAX_BYTES


def delete_old(is_claimed: Callable[[Path], bool]) -> None:
    """Delete what is old in the own folder, or was brought by a page that never read it.

    Args:
        is_claimed: Whether a page has read a file.
    """
    now = time.time()
    for path in _uploaded():
        with suppress(OSError):  # somebody may be deleting it already, and folders may not be empty
            if path.is_dir():
                path.rmdir()
            elif path.stat().st_mtime < now - (KEPT_SECONDS if is_claimed(path) else _UNCLAIMED_SECONDS):
                path.unlink()


def _uploaded() -> Iterator[Path]:
    """All in the own folder, what lies in a folder before the folder."""
    folder = Path(os.environ.get(_VARIABLE, ""))
    if folder.name.startswith(f"{_PREFIX}{_UPLOADS}-"):
        yield from sorted(folder.rglob("*"), reverse=True)


def _delete_left() -> None:
    """Delete the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*-*"):
        process = _process_of(folder)
        if process is not None and (process == os.getpid() or not _is_running(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _process_of(folder: Path) -> int | None:
    """Which process made a folder, as its name says; None of a folder that is none of ours."""
    process = folder.name.removeprefix(_PREFIX).split("-")[1]
    return int(process) if process.isdigit() else None


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere to ask is to interrupt
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
