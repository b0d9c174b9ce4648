"""What a person types -> texts, labels, and sentences about limits."""

from __future__ import annotations

import pytest

from e5studio.studio.corpus.corpus import MAX_ROWS
from e5studio.studio.engine.text_box import Limits, check_box, check_limits, split_texts
from e5studio.studio.errors import LimitError
from e5studio.studio.formatting import shown


def test_each_line_is_a_text_whatever_ends_it():
    box = split_texts("one\r\ntwo\rthree\nfour", "Q")
    assert box.texts == ("one", "two", "three", "four")
    assert box.labels == ("Q1", "Q2", "Q3", "Q4")


@pytest.mark.parametrize("inside", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_line_ends_separate_texts(inside):
    assert split_texts(f"before{inside}after", "Q").texts == (f"before{inside}after",)


@pytest.mark.parametrize("empty", ["", "   ", "\t", "\u200b", "\u3000", "\u200b\u3000"])
def test_an_empty_line_is_named_and_the_others_keep_their_numbers(empty):
    box = split_texts(f"one\n{empty}\nthree\n{empty}\n", "P")
    assert box.texts == ("one", "three")
    assert box.labels == ("P1", "P3")
    assert box.empty == (2,)


@pytest.mark.parametrize("raw", [None, "", "\n\n", " \n\u200b"])
def test_nothing_typed_is_no_text_and_no_complaint(raw):
    box = split_texts(raw, "Q")
    assert (len(box), box.empty) == (0, ())


def test_blank_lines_separate_texts_of_several_lines():
    box = split_texts("\n\nfirst line\nsecond line\r\n \t\r\n\r\nanother text\n\n", "P", "blank_line")
    assert box.texts == ("first line\nsecond line", "another text")
    assert box.labels == ("P1", "P2")


def test_a_text_reaches_the_model_as_it_was_typed():
    assert split_texts("  a text with  spaces ", "Q").texts == ("  a text with  spaces ",)


def test_limits_are_exact_and_say_both_numbers():
    limits = Limits(max_texts=2, max_characters=10)
    check_limits(["12345", "67890"], limits, "queries")
    message = rf"3 queries are more than the 2 taken .* Corpus tab, which takes {MAX_ROWS:,} texts"
    with pytest.raises(LimitError, match=message):
        check_limits(["a", "b", "c"], limits, "queries")
    with pytest.raises(LimitError, match=r"11 characters; 10 are taken"):
        check_limits(["12345", "678901"], limits, "queries")


@pytest.mark.parametrize(("raw", "numbers"), [("\n" * 129, "129 line ends"), ("a" * 21, "21 characters")])
def test_a_box_whose_splitting_would_take_long_is_refused_before_it(raw, numbers):
    limits = Limits(max_texts=2, max_characters=10)
    check_box("\n" * 10 + "1234567890", limits, "queries")
    check_box(None, limits, "queries")
    with pytest.raises(LimitError, match=numbers):
        check_box(raw, Limits(max_texts=2, max_characters=10 if "a" in raw else 1_000), "queries")


def test_what_is_shown_can_be_sent_to_a_browser():
    assert shown("a\ud800b\U0001f600").encode() == "a\ufffdb\U0001f600".encode()
    assert shown("abc", limit=2) == "ab…"
