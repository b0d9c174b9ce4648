"""The Space's entry and `python app.py`: starts the Studio, nothing else."""

from __future__ import annotations

from e5studio.studio.launch import ending_at_once, main

if __name__ == "__main__":
    with ending_at_once():
        main()
