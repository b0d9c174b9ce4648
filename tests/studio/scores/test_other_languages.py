"""Texts in another language than English: told where there is hardly a doubt."""

from __future__ import annotations

import pytest

from e5studio.errors import MissingDependencyError
from e5studio.studio.form.examples import EXAMPLES
from e5studio.studio.scores import other_languages
from e5studio.studio.scores.other_languages import foreign_texts, warm_finder

GERMAN = "Öffne das Ventil mit einem Schlüssel, bis Wasser kommt."


def test_languages_are_named_and_scripts_where_the_language_is_in_doubt():
    texts = ["open the valve with a key until water comes out", GERMAN, "你好", "日本語の文章です"]
    assert foreign_texts(texts) == [(1, "German"), (2, "Han script"), (3, "Japanese")]


@pytest.mark.parametrize(
    "text",
    ["", "bonjour", "tagliatelle al ragu recipe", "München Hauptbahnhof", "μ", "E = mc2", "42 %", "a b c d e f g"],
)
def test_what_is_in_doubt_is_not_called_foreign(text):
    assert foreign_texts([text]) == []


def test_the_english_examples_are_english():
    assert {example.title for example in EXAMPLES if foreign_texts([*example.queries, *example.passages])} == {
        "Multilingual",
        "Instruct",
    }


def test_scripts_tell_alone_where_the_finder_is_missing(monkeypatch):
    def refuse():
        raise MissingDependencyError("py3langid is not there.")

    monkeypatch.setattr(other_languages, "language_finder", refuse)
    other_languages._finder.cache_clear()
    try:
        assert foreign_texts([GERMAN, "日本語の文章です"]) == [(1, "Japanese script")]
    finally:
        other_languages._finder.cache_clear()


def test_the_finder_is_loaded_once():
    assert warm_finder() is warm_finder()
