"""`python -m e5studio`: the same as the command `e5studio`."""

from __future__ import annotations

from e5studio.cli import main

if __name__ == "__main__":
    main()
