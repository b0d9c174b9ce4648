"""Terminal output: safe text, tables on stdout, sentences on stderr, no tracebacks."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text
from typer.core import TyperCommand

from e5studio.errors import E5StudioError, E5StudioWarning, UnknownModelError
from e5studio.memory import is_out_of_memory, too_little_memory

Align = Literal["left", "right"]

_WIDTH_OF_A_FILE = 120
_NARROWEST_TEXT = 20
_GAP = "  "
# Control characters move the cursor and change colours, and bidirectional ones reorder what
# stands beside them: a text of a file must not be able to rewrite the screen.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ARGUMENT = re.compile(r"\b(dtype|backend)='(\w+)'")
_TRACEBACK_VARIABLE = "E5STUDIO_TRACEBACK"


class PlainCommand(TyperCommand):
    """A command whose errors and warnings are sentences on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an E5StudioError ends it with exit code 1."""
        with _warnings_as_sentences(), _errors_as_sentences():
            return super().invoke(ctx)


def printable(text: str, *, max_chars: int = 500) -> str:
    """A text on one line, safe to print: control characters are shown as escapes, a long end is left out."""
    shown = text if len(text) <= max_chars else text[: max_chars - 1] + "…"
    return _UNPRINTABLE.sub(_escape, shown)


def say(sentence: str, *, style: str = "") -> None:
    """Print a sentence on stderr."""
    lines = [printable(line, max_chars=4000) for line in sentence.split("\n")]
    _console(sys.stderr).print(Text("\n".join(lines), style), soft_wrap=True)


def print_json(content: Any) -> None:
    """Print JSON on stdout, in ASCII, so that it is valid whatever the stream's encoding."""
    typer.echo(json.dumps(content, indent=2, allow_nan=False))


def print_line(text: str, *, style: str = "") -> None:
    """Print one line on stdout."""
    _console(sys.stdout).print(Text(printable(text), style, no_wrap=True, overflow="ellipsis"))


def print_table(
    columns: Sequence[tuple[str, Align]], rows: Sequence[Sequence[str]], *, bold: Collection[tuple[int, int]] = ()
) -> None:
    """Print a table on stdout; the last column is cut to the remaining width.

    Args:
        columns: Heading and alignment of each.
        rows: Cells as plain text.
        bold: (row, column) of cells to stand out.
    """
    console = _console(sys.stdout)
    headings = [heading for heading, _ in columns]
    cells = [[Text(printable(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(line[column].cell_len for line in cells) for column in range(len(columns))]
    room = console.width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(room, _NARROWEST_TEXT))
    for number, line in enumerate(cells, -1):
        for column, (cell, (_, align), width) in enumerate(zip(line, columns, widths, strict=True)):
            cell.truncate(width, overflow="ellipsis")
            if column < len(widths) - 1:
                cell.align(align, width)
            if number < 0 or (number, column) in bold:
                cell.stylize("bold")
        console.print(Text(_GAP).join(line), soft_wrap=True)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[float], None]]:
    """A bar on stderr if that is a terminal; yields the function to call with the number done."""
    with _bar(total, TimeRemainingColumn()) as show:
        yield lambda done: show(done, "")


@contextmanager
def described_bar(total: int) -> Iterator[Callable[[float, str], None]]:
    """As `progress_bar`, but the function also takes the words beside the bar, in place of the time that is left."""
    with _bar(total, TextColumn("{task.description}")) as show:
        yield show


@contextmanager
def _bar(total: int, last_column: ProgressColumn) -> Iterator[Callable[[float, str], None]]:
    console = _console(sys.stderr)
    if not console.is_terminal:
        yield lambda done, words: None
        return
    with Progress(BarColumn(), MofNCompleteColumn(), last_column, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, words: progress.update(task, completed=done, description=words)


def _console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_OF_A_FILE
    return console


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or (
        f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
    )


@contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", E5StudioWarning)
        warnings.showwarning = lambda message, *_, **__: say(f"Warning: {message}", style="yellow")
        yield


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:
        if os.environ.get(_TRACEBACK_VARIABLE) and not isinstance(error, E5StudioError):
            raise
        say(f"Error: {_sentence(error)}", style="red")
        raise typer.Exit(1) from error


def _sentence(error: Exception) -> str:
    if is_out_of_memory(error):
        error = too_little_memory()
    if isinstance(error, E5StudioError):
        return in_options(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return (
        f"{type(error).__name__}: {error}. This is a fault in E5 Studio; {_TRACEBACK_VARIABLE}=1 in the environment "
        "shows where."
    )


def in_options(error: E5StudioError) -> str:
    """The message, with command-line options in place of Python arguments."""
    if isinstance(error, UnknownModelError):
        return (
            f"{error.fact} `e5studio models` lists the known ones; for one of your own give its folder or Hub id as "
            "--model, and --prompt-kind."
        )
    return _ARGUMENT.sub(r"--\1 \2", str(error))
