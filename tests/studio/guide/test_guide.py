"""The guide explains what a newcomer cannot know, in words that the page writes."""

from __future__ import annotations

import re

import pytest

from e5studio.studio.guide.guide import guide_html
from e5studio.studio.guide.text import GLOSSARY

WORDS = [word for term in GLOSSARY for word in term.words]


@pytest.mark.parametrize(
    "word",
    [
        "cosine × 100",
        "prompt",
        "pooling",
        "cut off",
        "pca",
        "umap",
        "t-sne",
        "trustworthiness",
        "hub",
        "ndcg@10",
        "int8",
    ],
)
def test_a_newcomers_word_has_a_card(word):
    assert word in WORDS


def test_words_find_themselves_in_a_sentence():
    assert len(WORDS) == len(set(WORDS))
    for word in WORDS:
        assert word == word.lower()
        assert not re.search(r"[\\^$*+?()\[\]{}|.]", word)  # they make a pattern
        assert re.search(rf"(?<![\w-])({word})(?![\w-])", f"A {word}, of course.")


def test_every_term_is_in_the_dialog_once():
    html = guide_html()
    for term in GLOSSARY:
        assert html.count(f">{term.name}</dt>") == 1
