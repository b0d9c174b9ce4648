"""Characters that leave no token are counted text by text, each looked up once."""

from __future__ import annotations

import pytest

from e5studio import dropped_characters
from e5studio.dropped_characters import DroppedCharacters


def counter(dropped: str) -> tuple[DroppedCharacters, list[str]]:
    """Drops some characters; and those that were looked up, in order."""
    looked_up: list[str] = []

    def leave_no_token(characters: list[str]) -> list[bool]:
        looked_up.extend(characters)
        return [character in dropped for character in characters]

    return DroppedCharacters(leave_no_token), looked_up


def test_each_text_has_its_own_count() -> None:
    characters, looked_up = counter("\ufffd\ue000\U0010fffd")
    texts = ["plain", "\ufffd", "", "é\ue000a\U0010fffd\U0010fffd", "é"]
    for _ in range(2):
        assert characters.count(texts).tolist() == [0, 1, 0, 3, 0]
    assert sorted(looked_up) == sorted({*"\ufffdéa\ue000\U0010fffd"})
    assert characters.count([]).tolist() == []


def test_what_carries_no_word_is_left_out_on_purpose() -> None:
    text = "\u0301\u200b\u00ad\x85\u3000\u2028\ufe0f"
    assert counter(text)[0].count([text + "é"]).tolist() == [0]


def test_many_characters_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped_characters, "_CHARACTERS_AT_ONCE", 4)
    texts = ["\ufffdé" * n for n in range(7)] + ["a", "\ufffd"]
    assert counter("\ufffd")[0].count(texts).tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
