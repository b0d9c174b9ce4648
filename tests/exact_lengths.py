"""Texts that are an exact number of tokens long, so that the limit of 512 is tested on the token."""

from __future__ import annotations

import random

from tests.checkpoints import Checkpoint
from tests.corpus import TRAINING_TEXT

_WORDS = sorted({word for word in TRAINING_TEXT.split() if word.isascii() and word.isalpha()})


def text_of_tokens(checkpoint: Checkpoint, n_tokens: int, *, prompt: str, seed: int) -> str:
    """A text that gives `n_tokens` ids with the prompt in front and special tokens around it."""
    tokenizer, choose = checkpoint.raw_tokenizer(), random.Random(seed)
    room = n_tokens - 2
    words = choose.choices(_WORDS, k=room)  # at least a token each

    def size(n_words: int, n_fillers: int) -> int:
        text = prompt + " ".join([*words[:n_words], *["a"] * n_fillers])
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    low, high = 0, room
    while low < high:  # the most words that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(middle, 0) <= room else (low, middle - 1)
    n_fillers = room - size(low, 0)
    assert size(low, n_fillers) == room
    return " ".join([*words[:low], *["a"] * n_fillers])
