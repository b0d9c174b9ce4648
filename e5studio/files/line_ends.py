"""Tells line ends from carriage returns inside a text."""

from __future__ import annotations


class LineEnds:
    r"""Compares the ends of lines with that of the first one.

    \n and \r\n may be mixed, as joined files have them. A carriage return alone ends a line of old systems, and may as
    well stand inside a text; a file has the one or the other.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._is_alone: bool | None = None
        self._is_rest = False

    def pass_blank(self) -> None:
        """Take note of a line that is nothing but a carriage return."""
        self._is_rest = self._is_alone is False

    def problem(self, line: int, line_end: str) -> str:
        """Why it is unclear whether a line ends there or begins where the one before seemed to end; "" if it is clear.

        Args:
            line: Number of the line, from 1.
            line_end: What ends it; "" at the end of the file.
        """
        is_rest, self._is_rest = self._is_rest, False
        is_alone = line_end == "\r"
        if self._is_alone is None and line_end:
            self._is_alone = is_alone
        if line_end and is_alone != self._is_alone:
            self._is_rest = is_alone
            ends = ("a carriage return", "a line feed") if is_alone else ("a line feed", "a carriage return")
            return f"line {line} ends in {ends[0]} where the first one ends in {ends[1]}, so it may go on"
        return f"line {line} may be the rest of the one before, which ends in a carriage return" if is_rest else ""
