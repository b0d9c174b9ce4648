"""The folder of unfinished work beside a run's output: locked while the run lasts; its notes are whole or missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from e5studio import file_lock
from e5studio.errors import E5StudioError, OutputError
from e5studio.files.atomic import atomic_files
from e5studio.memory import is_out_of_memory

_LOCK = "lock"


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """The folder, for this run alone; deleted once the block ends without an error.

    Args:
        output: Where the trained model will be.

    Raises:
        OutputError: Another run has it.
        OSError: It cannot be made.
    """
    work = output.with_name(f"{output.name}.train")
    work.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock.held(work / _LOCK):
            yield work
    except BlockingIOError as error:
        raise OutputError(f"Another run is training {output} now.", "Wait until it has ended.") from error
    with suppress(OSError):
        shutil.rmtree(work)


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Say in a sentence that something cannot be written: of a full disk torch and safetensors have words of their own.

    Args:
        what: What is written.
        folder: Where.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, E5StudioError) or is_out_of_memory(error):
            raise
        raise OutputError(
            f"{what} cannot be written to {folder}{_free_space(folder)}: {error}.",
            "Free some space there, and give the same command again: what is done already is not done again.",
        ) from error


def write_note(path: Path, content: Any) -> None:
    """Write a small JSON file, which is whole or not there, whatever stops the process."""
    with atomic_files(path, overwrite=True) as (file,):
        file.write(json.dumps(content, indent=2).encode())


def read_note(path: Path) -> Any:
    """What `write_note` wrote there; None where nothing is, or another file."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _free_space(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB are free)"
    except OSError:
        return ""
