"""Long texts are read in part, yet keep the ids of the whole; ends and counts are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from e5studio.errors import ModelFilesError
from e5studio.tokenization import Tokenizer, replace_surrogates
from tests import tiny_tokenizers
from tests.corpus import TRAINING_TEXT

KINDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "wordpiece": tiny_tokenizers.wordpiece,
    "unigram": tiny_tokenizers.unigram,
    "bpe": tiny_tokenizers.byte_fallback_bpe,
}


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """Ours and the library's own, from the same vocabulary."""
    plain = KINDS[request.param]()
    return Tokenizer(KINDS[request.param](), first=[1], last=[2]), plain


def whole_ids(plain: tokenizers.Tokenizer, text: str) -> list[int]:
    return plain.encode(text, add_special_tokens=False).ids


WORDS = TRAINING_TEXT.split()
# So long that of 18 tokens' text without a space the beginning is tried at two lengths, each of 64 ends.
LENGTH = 80_000
PARTS = {
    "prose": " ".join(WORDS) + " ",
    "no spaces": "".join(WORDS),
    "one letter": "a",
    "two letters": "ab",
    "chinese": "南瓜的家常做法清炒南瓜丝",
    "accents apart": "e\u0301n ",
    "line breaks": "\n".join(WORDS) + "\n",
    "tabs": "a\t",
    "special tokens": "<s> </s> [SEP] <mask>",
    "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0NTY3ODk",
}
LONG_TEXTS = {
    **{kind: part * (LENGTH // len(part)) for kind, part in PARTS.items()},
    "combining marks": "e" + "\u0301" * LENGTH,
    "spaces": "a" + " " * LENGTH + "b",
}


class TestLongTexts:
    @pytest.mark.parametrize("kind", LONG_TEXTS)
    def test_kept_ids_are_those_of_the_whole_text(
        self, both: tuple[Tokenizer, tokenizers.Tokenizer], kind: str
    ) -> None:
        ours, plain = both
        text = LONG_TEXTS[kind]
        expected = whole_ids(plain, "query: " + text)
        result = ours.encode([text], prompt="query: ", max_tokens=18)
        assert result.batch.ids.tolist() == [1, *expected[:16], 2]
        dropped = max(0, len(expected) - 16)
        if result.n_dropped_exact[0]:
            assert result.n_dropped[0] == dropped
        else:
            assert 0 < result.n_dropped[0] <= dropped

    @settings(max_examples=25)
    @given(
        unit=st.text(alphabet="ab é南\u0301.", min_size=1, max_size=7),
        length=st.integers(14_000, 20_000),  # from 16,384 on a text without a space is read in part
        tail=st.text(max_size=5),
    )
    def test_repeating_texts(
        self, both: tuple[Tokenizer, tokenizers.Tokenizer], unit: str, length: int, tail: str
    ) -> None:
        # Repetition is where the end of a text could shift the pieces at its beginning.
        ours, plain = both
        text = replace_surrogates(unit * (length // len(unit)) + tail)
        expected = whole_ids(plain, text)
        assert ours.encode([text], prompt="", max_tokens=10).batch.ids.tolist() == [1, *expected[:8], 2]

    def test_only_the_beginning_of_prose_is_read(self, both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
        ours, _ = both
        result = ours.encode([LONG_TEXTS["prose"]], prompt="", max_tokens=64)
        assert not result.n_dropped_exact[0]
        assert result.n_dropped[0] < 2_000

    def test_short_and_long_texts_keep_their_order(self, both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
        ours, plain = both
        texts = ["summit", LONG_TEXTS["prose"], "protein", LONG_TEXTS["no spaces"], "a b"]
        result = ours.encode(texts, prompt="", max_tokens=32)
        rows = np.split(result.batch.ids, np.cumsum(result.batch.lengths)[:-1])
        assert [row.tolist() for row in rows] == [[1, *whole_ids(plain, text)[:30], 2] for text in texts]


class TestCounts:
    def test_dropped_tokens_are_exact_for_texts_of_usual_length(
        self, both: tuple[Tokenizer, tokenizers.Tokenizer]
    ) -> None:
        ours, plain = both
        text = " ".join(WORDS[:60])
        n_tokens = len(whole_ids(plain, text))
        result = ours.encode([text], prompt="", max_tokens=12)
        assert (result.n_dropped[0], result.n_dropped_exact[0]) == (n_tokens - 10, True)

    def test_count_leaves_special_tokens_out(self, both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
        ours, plain = both
        assert ours.count(["summit define", ""]).tolist() == [len(whole_ids(plain, "summit define")), 0]

    def test_prompt_and_text_add_up(self, both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
        ours, plain = both
        prompt = "Instruct: retrieve\nQuery: "
        together = len(whole_ids(plain, prompt + "summit define"))
        assert ours.count_prompt(prompt) + int(ours.count(["summit define"])[0]) == together

    def test_unknown_share_leaves_out_prompt_and_special_tokens(self) -> None:
        ours = Tokenizer(tiny_tokenizers.wordpiece(), first=[2], last=[3])
        result = ours.encode(["😀", "a 😀 a 😀", "a"], prompt="query: ", max_tokens=64)
        assert result.unknown_share.tolist() == [1.0, 0.5, 0.0]


def test_white_space_at_the_end_is_a_token_to_sentencepiece() -> None:
    reads = {kind: Tokenizer(make(), first=[1], last=[2]).reads_end_spaces for kind, make in KINDS.items()}
    assert reads == {"wordpiece": False, "unigram": True, "bpe": True}


class TestOffsets:
    def test_point_into_prompt_and_text(self, both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
        ours, _ = both
        tokens = ours.offsets("summit define", prompt="query: ", max_tokens=64)
        whole = "query: summit define"
        spans = [whole[start:end].strip() for start, end in tokens.offsets[~tokens.special]]
        assert "".join(spans) == "query:summitdefine"
        assert tokens.special.tolist() == [True, *[False] * (len(tokens.ids) - 2), True]

    def test_are_cut_like_the_ids(self, both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
        ours, _ = both
        text = LONG_TEXTS["prose"]
        ids = ours.encode([text], prompt="query: ", max_tokens=64).batch.ids
        assert ours.offsets(text, prompt="query: ", max_tokens=64).ids.tolist() == ids.tolist()


class TestFromFolder:
    def test_settings_in_the_file_are_overridden(self, tmp_path: Path) -> None:
        tokenizer = tiny_tokenizers.wordpiece()
        tokenizer.enable_padding(length=128)
        tokenizer.enable_truncation(5)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        ours = Tokenizer.from_folder(tmp_path, pooling="mean")
        assert ours.n_special == 2
        assert ours.encode(["a b c d e f g h"], prompt="", max_tokens=64).batch.lengths.tolist() == [10]

    def test_last_token_models_get_bos_and_eos_whatever_the_template_says(self, tmp_path: Path) -> None:
        tiny_tokenizers.byte_fallback_bpe().save(str(tmp_path / "tokenizer.json"))
        config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        ids = Tokenizer.from_folder(tmp_path, pooling="last_token").encode(["summit " * 50], prompt="", max_tokens=8)
        assert (ids.batch.ids[0], ids.batch.ids[-1], len(ids.batch.ids)) == (1, 2, 8)

    def test_a_tokenizer_that_marks_no_ends_is_refused(self, tmp_path: Path) -> None:
        tokenizer = tiny_tokenizers.byte_fallback_bpe()  # its template has no EOS
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        with pytest.raises(ModelFilesError, match="no special token before or after"):
            Tokenizer.from_folder(tmp_path, pooling="mean")

    def test_missing_bos_is_refused(self, tmp_path: Path) -> None:
        content = json.loads(tiny_tokenizers.wordpiece().to_str()) | {"post_processor": None}
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(ModelFilesError, match="lacks '<s>' or '</s>'"):
            Tokenizer.from_folder(tmp_path, pooling="last_token")

    def test_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text("{")
        with pytest.raises(ModelFilesError, match="damaged"):
            Tokenizer.from_folder(tmp_path, pooling="mean")


def test_replace_surrogates() -> None:
    assert replace_surrogates("a\ud800b") == "a\ufffdb"
    assert replace_surrogates("😀 ok") == "😀 ok"
