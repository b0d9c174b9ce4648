"""Texts that break embedding stacks: refused by name, or embedded right.

In each case the neighbours of the bad text are unharmed, to the bit.
"""

from __future__ import annotations

import base64
import random
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from e5studio.cache import CachedEncoder, VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import (
    E5StudioError,
    PromptError,
    TextError,
    TextTypeError,
    TruncationWarning,
    UnreadTextWarning,
)
from e5studio.text_checks import find_bad_texts
from tests import corpus
from tests.checkpoints import Checkpoint, CheckpointName
from tests.fakes import FakeBackend, encoder_over

# Instruct models are used here without an instruction, which is said each time.
pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.PromptWarning")

Checkpoints = Callable[[CheckpointName], Checkpoint]
Encoders = Callable[[CheckpointName], E5Encoder]
Vectors = NDArray[np.float32]

EMPTY = [
    "",
    " ",
    "\n\t\r",
    "\u00a0",
    "\u200b",
    "\u3000",
    "\ufeff",
    "\u200e\u200f",
    "\u2028",
    "\x00",
    "\u00ad",
    " \u200b\u3000 ",
]
NO_TEXT = [
    None,
    float("nan"),
    pd.NA,
    pd.NaT,
    3,
    True,
    2.5,
    b"bytes",
    bytearray(b"x"),
    ["a"],
    ("a",),
    {"a": 1},
    Path("a"),
]
GOOD = list(corpus.ORDINARY_TEXTS)


@pytest.fixture
def e5(encoders: Encoders) -> E5Encoder:
    return encoders("e5")


def doors(encoder: E5Encoder) -> list[Callable[[Iterable[Any]], Any]]:
    """All the ways in which texts come in."""
    return [
        encoder.encode_query,
        encoder.encode_document,
        lambda texts: encoder.encode(texts, prompt=""),
        lambda texts: encoder.encode(texts, prompt="query: "),
        lambda texts: encoder.prepare(texts, prompt_name="query"),
        lambda texts: list(encoder.encode_blocks(texts, prompt_name="query")),
        lambda texts: encoder.scores(texts, ["a"]),
        lambda texts: encoder.scores(["a"], texts),
        CachedEncoder(encoder, VectorCache()).encode_query,
    ]


class TestEmpty:
    @pytest.mark.parametrize("empty", EMPTY, ids=ascii)
    def test_is_refused_with_its_place(self, empty: str, encoder: E5Encoder) -> None:
        """With a prompt in front it would become one plausible vector, the same for every empty text."""
        for embed in doors(encoder):
            with pytest.raises(TextError, match=r"1 of 7 texts are empty \(at 2\)") as caught:
                embed([*GOOD[:2], empty, *GOOD[2:]])
            assert caught.value.indices == (2,)

    def test_all_of_them_are_named(self, e5: E5Encoder) -> None:
        texts = ["a", "", "b", " ", "\u200b"]
        with pytest.raises(TextError, match=r"3 of 5 texts are empty \(at 1, 3, 4\)") as caught:
            e5.encode_query(texts)
        assert caught.value.indices == (1, 3, 4)
        assert find_bad_texts(texts) == {1: "empty", 3: "empty", 4: "empty"}

    def test_a_single_one(self, e5: E5Encoder) -> None:
        with pytest.raises(TextError, match="1 of 1 texts are empty"):
            e5.encode_query("  ")
        with pytest.raises(TextError):
            e5.token_embeddings("\u200b", prompt="query: ")

    def test_the_others_are_the_same_without_it(self, encoder: E5Encoder) -> None:
        mixed = [*GOOD[:2], "", *GOOD[2:], "\u3000"]
        bad = find_bad_texts(mixed)
        rest = encoder.encode_query([text for index, text in enumerate(mixed) if index not in bad])
        assert rest.tobytes() == encoder.encode_query(GOOD).tobytes()

    def test_place_in_a_stream_counts_from_its_beginning(self, e5: E5Encoder) -> None:
        blocks = e5.encode_blocks(iter(["a"] * 5 + [""]), prompt_name="query", block_size=2)
        assert len(next(blocks)) == len(next(blocks)) == 2
        with pytest.raises(TextError, match="block that begins at text 4") as caught:
            next(blocks)
        assert caught.value.indices == (5,)

    def test_title_gives_an_empty_passage_a_meaning(self, e5: E5Encoder) -> None:
        np.testing.assert_array_equal(e5.encode_document([""], titles=["Summit"]), e5.encode_document(["Summit"]))
        with pytest.raises(TextError):
            e5.encode_document(["", "a"], titles=["", "b"])

    def test_counting_needs_no_content(self, e5: E5Encoder) -> None:
        assert e5.count_tokens(["", "summit", " "]).tolist() == [0, 1, 0]


class TestNoText:
    @pytest.mark.parametrize("wrong", NO_TEXT, ids=lambda wrong: type(wrong).__name__)
    def test_is_refused_with_its_place_and_type(self, wrong: object, e5: E5Encoder) -> None:
        for embed in [*doors(e5), e5.count_tokens]:
            with pytest.raises(TextTypeError, match=f"at 1 stands {type(wrong).__name__}") as caught:
                embed(["a", wrong, "b"])
            assert caught.value.indices == (1,)
            assert isinstance(caught.value, TypeError)
        assert find_bad_texts(["a", wrong]) == {1: f"not text: {type(wrong).__name__}"}

    @pytest.mark.parametrize(
        "wrong",
        [
            None,
            3,
            b"abc",
            {"a": 1},
            {"a", "b"},
            pd.DataFrame({"column name": ["text"]}),
            np.array([["a"]]),
            np.array("a"),
        ],
        ids=lambda wrong: type(wrong).__name__,
    )
    def test_in_place_of_a_list(self, wrong: Any, e5: E5Encoder) -> None:
        for embed in [*doors(e5), e5.count_tokens]:
            with pytest.raises(TextTypeError, match="Expected a list of texts"):
                embed(wrong)

    def test_one_string_where_a_list_is_due_is_not_taken_apart(self, e5: E5Encoder) -> None:
        with pytest.raises(TextTypeError):
            e5.encode_blocks("abc", prompt_name="query")
        with pytest.raises(TextTypeError):
            e5.scores("abc", ["a"])
        with pytest.raises(TextTypeError):
            e5.prepare("abc", prompt_name="query")
        with pytest.raises(TextTypeError):
            e5.count_tokens("abc")

    def test_missing_cells_of_a_table(self, e5: E5Encoder) -> None:
        for column in (pd.Series(["a", None, "b"]), pd.Series(["a", pd.NA, "b"], dtype="string")):
            with pytest.raises(TextTypeError) as caught:
                e5.encode_query(column)
            assert caught.value.indices == (1,)

    def test_strings_of_numpy_and_pandas_are_texts(self, e5: E5Encoder) -> None:
        expected = e5.encode_query(["a", "b"])
        for texts in (np.array(["a", "b"]), pd.Series(["a", "b"]), pd.Series(["a", "b"], index=[7, 9], dtype="string")):
            np.testing.assert_array_equal(e5.encode_query(texts), expected)
        np.testing.assert_array_equal(e5.encode_query(np.str_("a")), expected[0])

    @pytest.mark.parametrize("wrong", [3, b"query: ", ["query: "]])
    def test_prompt_of_another_type(self, wrong: Any, e5: E5Encoder, encoders: Encoders) -> None:
        with pytest.raises(PromptError, match=r"prompt=.* is no text"):
            e5.encode(["a"], prompt=wrong)
        with pytest.raises(PromptError, match=r"prompt_name=.* is no text"):
            e5.encode(["a"], prompt_name=wrong)
        with pytest.raises(PromptError, match=r"instruction=.* is no text"):
            encoders("multilingual-e5-instruct").encode_query(["a"], instruction=wrong)


class TestSurrogates:
    """Halves of characters, as JSON and cut UTF-16 let them in: read as U+FFFD, and counted."""

    @pytest.mark.parametrize("broken", ["a\ud800b", "x\ude00", "z\ud83d\ude00"], ids=ascii)
    def test_are_read_as_replacement_characters(self, broken: str, encoder: E5Encoder) -> None:
        clean = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in broken)
        good = GOOD[:3]
        texts = [*good, broken, *good[::-1], broken, "é"]
        prepared = encoder.prepare(texts, prompt_name="query")
        assert prepared.report.replaced_surrogates == (3, 7)
        vectors = encoder.encode_query(texts)
        expected = encoder.encode_query([*good, clean, *good[::-1], clean, "é"])
        assert vectors.tobytes() == expected.tobytes()
        assert encoder.count_tokens([broken]).tolist() == encoder.count_tokens([clean]).tolist()
        assert encoder.token_embeddings(broken, prompt="").tokens == encoder.token_embeddings(clean, prompt="").tokens

    def test_alone_are_read_or_refused_as_replacement_characters(self, encoder: E5Encoder) -> None:
        if encoder.meta.pooling == "last_token":  # its vocabulary has all bytes
            np.testing.assert_array_equal(encoder.encode_query("\udfff\ud800"), encoder.encode_query("\ufffd\ufffd"))
            return
        for text in ("\udfff\ud800", "\ufffd\ufffd"):
            with pytest.raises(TextError, match="1 of 1 texts are empty to"):
                encoder.encode_query(text)

    def test_in_a_title(self, e5: E5Encoder) -> None:
        np.testing.assert_array_equal(
            e5.encode_document(["a"], titles=["b\ud800"]), e5.encode_document(["a"], titles=["b\ufffd"])
        )

    def test_in_a_prompt_are_a_mistake_of_the_program(self, e5: E5Encoder, encoders: Encoders) -> None:
        with pytest.raises(PromptError, match="lone surrogate"):
            e5.encode(["a"], prompt="\ud800: ")
        with pytest.raises(PromptError, match="lone surrogate"):
            encoders("multilingual-e5-instruct").encode_query(["a"], instruction="\ud800")


class TestUnread:
    """What the model can't read is said, as truncation is: nothing, little, and characters left out without a token."""

    @pytest.mark.parametrize("unread", ["\ufffd\ufffd\ufffd", "\ue001 \uf8ff", "\U000f0000", "\u0301\u0302"], ids=ascii)
    def test_a_text_that_leaves_no_token_is_empty(self, unread: str, e5: E5Encoder) -> None:
        for embed in doors(e5):
            with pytest.raises(TextError, match=r"1 of 7 texts are empty to .* \(at 2; the first is ") as caught:
                embed([*GOOD[:2], unread, *GOOD[2:]])
            assert caught.value.indices == (2,)
        prepared = e5.prepare(["a", unread], prompt_name="query", allow_empty=True)
        assert prepared.report.empty == (1,)
        alone = e5.embed_prepared(e5.prepare([""], prompt_name="query", allow_empty=True))
        np.testing.assert_allclose(e5.embed_prepared(prepared)[1:], alone, rtol=0, atol=2e-6)

    @pytest.mark.parametrize("name", ["multilingual-e5", "multilingual-e5-small"])
    @pytest.mark.parametrize("prompt", ["", "query: ", "Task: x\nQuery:"])
    def test_a_space_is_no_token_of_a_text(self, name: CheckpointName, prompt: str, encoders: Encoders) -> None:
        """XLM-R's normaliser makes a space of U+FFFD."""
        with pytest.raises(TextError) as caught:
            encoders(name).encode(["a", "\ufffd \ufffd", "\ufffd b"], prompt=prompt)
        assert caught.value.indices == (1,)

    def test_a_text_that_grows_together_with_its_prompt_is_read(self, e5: E5Encoder) -> None:
        report = e5.prepare(["mit", "summit"], prompt="sum").report  # one token with the prompt, as the prompt alone
        assert report.empty == ()

    def test_all_of_them_are_named(self, e5: E5Encoder) -> None:
        with pytest.raises(TextError) as caught:
            e5.encode_query(["\ufffd", "a", "\ufffd", "\ue001"])
        assert caught.value.indices == (0, 2, 3)

    def test_dropped_characters_are_counted_and_told(self, e5: E5Encoder) -> None:
        texts = ["caf\ufffd and \ue000tea\ufffd", "tea", "\ufffd" * 400 + "tea", "te\u0301a\u200b\x07\u00ad"]
        report = e5.prepare(texts, prompt_name="query").report
        assert report.n_dropped_characters.tolist() == [3, 0, 400, 0]
        assert report.unknown_share[2] > 0.99
        with pytest.warns(UnreadTextWarning) as caught:
            e5.encode_query(texts)
        assert {warning.filename for warning in caught} == {__file__}
        assert any("2 of 4 texts have characters" in str(warning.message) for warning in caught)

    def test_unknown_tokens_are_told_from_a_twentieth_on(self, e5: E5Encoder) -> None:
        word = "x" * 101  # WordPiece's [UNK], for its length alone
        with pytest.warns(UnreadTextWarning, match=r"1 of 2 texts have words or characters that .* \(text 1: 50%\)"):
            e5.encode_query(["a", f"a {word}"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            e5.encode_query(["a " * 20 + word])

    def test_the_prompts_own_unknown_tokens_are_not_the_texts(self, e5: E5Encoder) -> None:
        assert e5.prepare(["a"], prompt="☃ ☃ ").report.unknown_share.tolist() == [0]

    def test_a_stream_tells_of_each_kind_once(self, e5: E5Encoder) -> None:
        with pytest.warns(UnreadTextWarning) as caught:
            list(e5.encode_blocks(["a\ufffd"] * 4, prompt_name="query", block_size=1))
        assert len(caught) == len({str(warning.message) for warning in caught}) == 2

    def test_no_token_but_a_byte_is_read(self, encoders: Encoders) -> None:
        report = encoders("e5-mistral-instruct").prepare(["\ufffd\ue000"], prompt="").report
        assert (report.empty, report.n_dropped_characters.tolist()) == ((), [0])

    def test_of_a_long_text_the_beginning_counts(self, e5: E5Encoder) -> None:
        report = e5.prepare(["a \ufffd " + "summit " * 50_000], prompt="").report
        assert report.n_dropped_characters.tolist() == [1]


class TestTooLong:
    def test_a_hundred_thousand_tokens(self, encoder: E5Encoder) -> None:
        limited = encoder.with_options(max_tokens=512)
        long = "summit define " * 50_000
        texts = [GOOD[0], long, GOOD[1]]
        report = limited.prepare(texts, prompt_name="query").report
        [cut] = report.truncated
        assert (cut.index, cut.n_read) == (1, 512)
        assert cut.n_dropped > 0
        with pytest.warns(TruncationWarning, match=r"1 of 3 texts are longer .* \(text 1: "):
            vectors = limited.encode_query(texts)
        with pytest.warns(TruncationWarning):
            alone = limited.encode_query([GOOD[0], long[:20_000], GOOD[1]])
        assert vectors.tobytes() == alone.tobytes()

    @pytest.mark.parametrize("n_words", [505, 506, 507, 508, 600])
    def test_never_more_than_512_tokens_reach_the_model(self, n_words: int, checkpoints: Checkpoints) -> None:
        backend = FakeBackend(48)
        encoder = encoder_over(checkpoints("e5"), backend)
        report = encoder.prepare(["summit " * n_words], prompt_name="query").report
        assert len(report.truncated) == (n_words > 508)  # [CLS] query : ... [SEP]
        encoder.embed_prepared(encoder.prepare(["summit " * n_words], prompt_name="query"))
        assert int(backend.seen[0].lengths.max()) == min(n_words + 4, 512)

    @pytest.mark.parametrize("room", [5, 6])
    def test_a_prompt_that_leaves_no_room(self, room: int, e5: E5Encoder) -> None:
        short = e5.with_options(max_tokens=room)
        assert short.max_text_tokens("query") == room - 4
        assert short.encode_query("summit").shape == (48,)
        with pytest.raises(PromptError, match="leaves no room"):
            e5.with_options(max_tokens=4).encode_query("summit")


# Of so long a text only a beginning is tokenised for 64 tokens, spaces or none.
ENDLESS: dict[str, str] = {
    "letters": "abcdefghij" * 8_000,
    "one letter": "a" * 80_000,
    "CJK": "漢字南瓜的家常做法" * 8_889,
    "combining marks": "e" + "\u0301\u0302\u0323" * 26_667,
    "base64": base64.b64encode(random.Random(0).randbytes(60_000)).decode(),
    "zero-width": "a" + "\u200d" * 80_000,
    "spaces": "a" + " " * 80_000 + "b",
}


class TestEndlessWords:
    @pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning")
    @pytest.mark.parametrize("kind", ENDLESS)
    @pytest.mark.parametrize("name", ["e5", "multilingual-e5", "e5-mistral-instruct"])
    def test_are_read_like_any_text(self, kind: str, name: CheckpointName, encoders: Encoders) -> None:
        text, encoder = ENDLESS[kind], encoders(name).with_options(max_tokens=64)
        report = encoder.prepare([text, "summit"], prompt="").report
        n_tokens = int(encoder.count_tokens([text])[0])
        assert report.n_tokens[0] == min(n_tokens + 2, 64)
        assert [cut.index for cut in report.truncated] == ([0] if n_tokens > 62 else [])
        assert 0 <= report.unknown_share[0] <= 1
        vectors = encoder.encode([text, "summit"], prompt="")
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(vectors[1], encoder.encode("summit", prompt=""), rtol=0, atol=2e-6)

    def test_words_unknown_for_their_length_are_told_of(self, e5: E5Encoder) -> None:
        """To WordPiece every word of over 100 characters is [UNK], so different ones have one vector."""
        words = ["a" * 101, "b" * 101, "a" * 100]
        report = e5.prepare(words, prompt_name="query").report
        assert report.unknown_share.tolist() == [1, 1, 0]
        with pytest.warns(UnreadTextWarning, match=r"2 of 3 texts have words or characters"):
            vectors = e5.encode_query(words)
        assert vectors[0].tobytes() == vectors[1].tobytes() != vectors[2].tobytes()


def test_every_error_is_one_to_show(e5: E5Encoder) -> None:
    """Each names what was given and says what to do; a face may show it as it is."""
    for call in (
        lambda: e5.encode_query([""]),
        lambda: e5.encode_query([None]),  # type: ignore[list-item]
        lambda: e5.encode(["a"]),
        lambda: e5.encode(["a"], prompt_name="qurey"),
        lambda: e5.encode_query(["a"], instruction="x"),
    ):
        with pytest.raises(E5StudioError) as caught:
            call()
        assert len(str(caught.value)) > 40
        assert "\n" not in str(caught.value)
