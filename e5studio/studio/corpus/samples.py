"""Texts to try: the documentation of Python's own modules, and the answers of a town hall, which we wrote."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from e5studio.studio.corpus.table_file import SourceTable, read_table

_MODULES = (
    *(
        "csv",
        "datetime",
        "difflib",
        "email.message",
        "fractions",
        "functools",
        "heapq",
        "http.client",
        "io",
        "itertools",
    ),
    *(
        "json",
        "math",
        "os.path",
        "pathlib",
        "random",
        "shutil",
        "socket",
        "sqlite3",
        "statistics",
        "tarfile",
        "threading",
    ),
    *("urllib.parse", "zipfile"),
)
_MAX_TEXTS = 300
_MAX_OF_MODULE = 22
_MIN_CHARACTERS = 40

SAMPLES = {
    "town_hall": "Questions to a town hall (42 answers)",
    "docstrings": "Python's own documentation (300 texts)",
}
"""What can be tried, and its name on the page."""


def sample_table(name: str) -> SourceTable:
    """The texts of one of `SAMPLES`."""
    return _docstrings() if name == "docstrings" else _town_hall()


def _town_hall() -> SourceTable:
    file = Path(__file__).with_name("town_hall.csv")
    return read_table(file, name=file.name)


def _docstrings() -> SourceTable:
    """Names and first paragraphs, taken from the running Python."""
    rows = list(_documented())[:_MAX_TEXTS]
    columns = tuple(zip(*rows, strict=True))
    return SourceTable(
        "python_docs", ("name", "module", "text"), columns, tuple(range(1, len(rows) + 1)), row_word="row"
    )


def _documented() -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for module_name in _MODULES:
        module, n_own = importlib.import_module(module_name), 0
        for name, thing in sorted(vars(module).items()):
            is_own = callable(thing) and not name.startswith("_") and n_own < _MAX_OF_MODULE
            text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()) if is_own else ""
            if len(text) >= _MIN_CHARACTERS and text not in seen:
                seen.add(text)
                n_own += 1
                yield name, module_name, text
