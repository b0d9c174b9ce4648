"""The command line: `e5studio models | score | encode | search | evaluate | train | mine | serve | studio`.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 an error (one sentence),
2 wrong usage, 3 done but some rows have no vector, or some settings could not be evaluated, 4 done
but a published figure was not reproduced, 130 interrupted.
"""

from __future__ import annotations

from e5studio.cli.app import main

__all__ = ["main"]
