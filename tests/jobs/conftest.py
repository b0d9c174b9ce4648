"""A small corpus, a small encoder, and jobs over them."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import _commands_are_built_once, _weights_are_read_once

__all__ = ["_commands_are_built_once", "_weights_are_read_once"]

WORDS = "cat dog mat night bark sat rain river stone house".split()


def text_of(number):
    return " ".join(WORDS[(number * 7 + step) % 10] for step in range(number % 12 + 1)) + f" {number}"


@pytest.fixture
def own(checkpoints):
    return ["--model", checkpoints("e5").folder, "--prompt-kind", "query_passage", "--role", "document"]


@pytest.fixture
def corpus(tmp_path):
    """50 rows of which three have no usable text."""
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": 1000 + number, "text": text_of(number), "tags": ["a", number]} for number in range(50)]
    rows[7]["text"] = " "
    rows[20]["text"] = None
    rows[33]["text"] = 5
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"
