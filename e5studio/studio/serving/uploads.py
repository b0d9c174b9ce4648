"""The process's own folders for uploaded files and for files to download, which are deleted by age.

Gradio forgets uploads that were cut off. A folder is deleted when its process ends or, if that was killed, when the
next Studio starts.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from e5studio.errors import TextError
from e5studio.studio.formatting import shown

KEPT_SECONDS = 3600
"""How long a file stays after it was last written."""

_UNCLAIMED_SECONDS = 600  # for files that no page has read
_MAX_BYTES = 2_000_000_000  # over all uploaded files
_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "e5studio-"
_UPLOADS = "uploads"
_own_folders: list[Path] = []


def use_own_folder() -> None:
    """Have Gradio write uploads to a new folder, unless the environment names one.

    Must run before the page is built.
    """
    _delete_orphans()
    if not os.environ.get(_VARIABLE):
        os.environ[_VARIABLE] = str(new_folder(_UPLOADS))


def new_folder(kind: str) -> Path:
    """A folder that is deleted when this process ends, or when the next Studio starts."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-{os.getpid()}-"))
    if not _own_folders:
        atexit.register(delete_folders)
    _own_folders.append(folder)
    return folder


def delete_folders() -> None:
    """Delete the folders of this process, which is about to end; a fork must not delete its parent's."""
    for folder in _own_folders:
        if _process_of(folder) == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)


def delete_folders_on_termination() -> None:
    """Delete the folders also when a container or a service is stopped."""

    def end(number: int, _: Any) -> None:
        delete_folders()
        os._exit(128 + number)  # Python's own end would wait for models that are loading, or break off in them

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def still_there(path: Path) -> Path:
    """The path of an uploaded file, if it still exists.

    Raises:
        TextError: It does not: it is old, or Gradio's only copy of equal files was deleted with another page.
    """
    if not path.is_file():
        raise TextError(
            f"{shown(path.name, 80)} is no longer on the server: files are deleted after an hour, or with another page "
            "that uploaded the same file. Choose it again."
        )
    return path


def has_room() -> bool:
    """Whether there is room for more files in our own folder; a folder that the environment names has no limit."""
    n_bytes = 0
    for path in _uploaded():
        with suppress(OSError):  # it may be deleted right now
            n_bytes += path.stat().st_size if path.is_file() else 0
    return n_bytes <= _MAX_BYTES


def delete_old(is_claimed: Callable[[Path], bool]) -> None:
    """Delete old files from our own folder, and files that no page has read.

    Args:
        is_claimed: Whether a page has read a file.
    """
    now = time.time()
    for path in _uploaded():
        with suppress(OSError):  # it may be deleted right now, and folders may not be empty
            if path.is_dir():
                path.rmdir()
            elif path.stat().st_mtime < now - (KEPT_SECONDS if is_claimed(path) else _UNCLAIMED_SECONDS):
                path.unlink()


def _uploaded() -> Iterator[Path]:
    """Everything in our own folder, the content of a folder before the folder."""
    folder = Path(os.environ.get(_VARIABLE, ""))
    if folder.name.startswith(f"{_PREFIX}{_UPLOADS}-"):
        yield from sorted(folder.rglob("*"), reverse=True)


def _delete_orphans() -> None:
    """Delete the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*-*"):
        process = _process_of(folder)
        if process is not None and (process == os.getpid() or not _is_running(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _process_of(folder: Path) -> int | None:
    """The process that made a folder, by its name; None if the folder is not ours."""
    process = folder.name.removeprefix(_PREFIX).split("-")[1]
    return int(process) if process.isdigit() else None


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        return True
    return True
