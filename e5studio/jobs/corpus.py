"""What a corpus is: files of texts whose rows follow each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAN = "job.json"
"""The file by which the folder of a job is known."""


@dataclass(frozen=True)
class InputFile:
    """One file of texts.

    Attributes:
        path: Where it is.
        n_bytes: Its size.
        sha256: Its digest.
        n_rows: Its rows, including those with a problem.
        version: What the store of a remote file calls this version of it; "" on a disk.
    """

    path: str
    n_bytes: int
    sha256: str
    n_rows: int
    version: str = ""


@dataclass(frozen=True)
class Corpus:
    """Files of texts that were read through once.

    Attributes:
        files: The files, whose rows follow each other.
        reading: The options of `find_texts`.
        keep: The columns that were chosen; None for all.
        column: The column of the texts.
        fields: The columns that go along with the vectors, and their types as Arrow names them.
    """

    files: tuple[InputFile, ...]
    reading: Mapping[str, Any]
    keep: tuple[str, ...] | None
    column: str
    fields: Mapping[str, str]

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(file.n_rows for file in self.files)

    @property
    def files_without_rows(self) -> list[str]:
        """The paths of files that are empty or have a header only."""
        return [file.path for file in self.files if not file.n_rows]

    @property
    def name(self) -> str:
        """The files in a few words."""
        n_more = len(self.files) - 1
        return Path(self.files[0].path).name + (f" and {n_more:,} more" if n_more else "")
