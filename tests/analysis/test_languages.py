"""Scripts by their letters, and languages where they can be told."""

from __future__ import annotations

import sys

import pytest

from e5studio.analysis.languages import language_finder, main_script
from e5studio.errors import MissingDependencyError


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("The summit, 3,000 m", "Latin"),
        ("Der Gipfel (вершина) des Berges", "Latin"),
        ("вершина горы", "Cyrillic"),
        ("山の頂上です", "Japanese"),
        ("ラーメン", "Japanese"),
        ("南瓜的家常做法", "Han"),
        ("서울은 어디에 있습니까", "Korean"),
        ("ＡＢＣ", "Latin"),
        ("קצה ההר", "Hebrew"),
        ("12:30, $ 5!", None),
        ("", None),
        ("ab вг", None),
    ],
)
def test_the_script_is_that_of_most_letters(text, script):
    assert main_script(text) == script


def test_a_language_is_named_where_it_is_certain_and_not_otherwise():
    find = language_finder()
    assert find("The summit is the top of a mountain.") == "English"
    assert find("Das Wetter ist heute schön, und morgen regnet es.") == "German"
    assert find("Il fait beau aujourd'hui.") == "French"
    for short in ("bread", "Vitamin D", "E. coli O157:H7", "error 404", "", "🎉"):
        assert find(short) is None


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    language_finder.cache_clear()
    with pytest.raises(MissingDependencyError, match="pip install py3langid"):
        language_finder()
