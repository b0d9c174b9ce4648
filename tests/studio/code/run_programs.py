"""Runs programs of the Code tab, each unchanged and in its own folder, in this one process; writes what they print.

    python -m tests.studio.code.run_programs MODELS OUTPUT FILE...

MODELS is a JSON file: for some models of the table, what is otherwise of the small checkpoint that stands for it. Any
warning but that of a text too long, which some texts are, is an error where Python is told so (-W error).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import traceback
import warnings
from pathlib import Path

from e5studio.errors import TruncationWarning
from tests.studio.small_models import shrink_table


def main(models: str, output: str, *files: str) -> None:
    warnings.simplefilter("ignore", TruncationWarning)
    shrink_table(json.loads(Path(models).read_text(encoding="utf-8")))
    printed = {file: run(Path(file)) for file in files}
    Path(output).write_text(json.dumps(printed), encoding="utf-8")


def run(path: Path) -> str:
    os.chdir(path.parent)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            runpy.run_path(str(path), run_name="__main__")
        except Exception:
            return said.getvalue() + traceback.format_exc()
    return said.getvalue()


if __name__ == "__main__":
    main(*sys.argv[1:])
