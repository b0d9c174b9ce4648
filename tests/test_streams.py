"""Streams that are missing, closed, or somebody else's objects."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from e5studio.encoder import E5Encoder
from e5studio.streams import is_terminal, set_up_streams
from tests.checkpoints import CheckpointName


class Logger:
    """What loguru's recipe and many programs put in the place of sys.stderr."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"can only write": Logger, "missing": lambda: None, "closed": closed, "of a file": io.StringIO}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_nobody_watches_it(make: Callable[[], Any]) -> None:
    assert is_terminal(make()) is False


def test_somebody_watches_a_terminal() -> None:
    assert is_terminal(Terminal()) is True


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("show_progress", [None, True])
def test_texts_are_encoded_whatever_stands_in_place_of_stderr(
    make: Callable[[], Any],
    show_progress: bool | None,
    encoders: Callable[[CheckpointName], E5Encoder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = encoders("e5").with_options(show_progress=show_progress)
    monkeypatch.setattr(sys, "stderr", make())
    assert encoder.encode(["a", "b"], prompt="").shape[0] == 2


def test_a_missing_stream_of_this_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    set_up_streams()
    with sys.stdout as stream:
        assert stream.write("x") == 1
    sys.stderr.write("é")
    sys.stderr.flush()
    assert sys.stderr.buffer.getvalue() == b"\\xe9"  # type: ignore[attr-defined]
