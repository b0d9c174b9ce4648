"""A tokenizer with the pieces of the texts at hand alone gives the ids of the whole one, whatever the text."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from e5studio import lazy_tokenizer, tokenization
from e5studio.errors import ModelFilesError
from e5studio.lazy_tokenizer import LazyTokenizer
from e5studio.tokenization import Tokenizer
from tests import tiny_tokenizers
from tests.corpus import ALL_TEXTS

OWN_TOKENS = [
    tokenizers.AddedToken("[new]", special=True),
    tokenizers.AddedToken("été", normalized=True, special=False),
    tokenizers.AddedToken("<unk>", special=True),
]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E5STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _every_file_is_large(monkeypatch):
    monkeypatch.setattr(tokenization, "_LARGE_FILE", 0)


def both(folder, tokenizer):
    """The same tokenizer.json read lazily and whole."""
    tokenizer.save(str(folder / "tokenizer.json"))
    lazy = Tokenizer.from_folder(folder, pooling="mean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenization, "_LARGE_FILE", 10**9)
        return lazy, Tokenizer.from_folder(folder, pooling="mean")


def is_lazy(tokenizer):
    return isinstance(tokenizer._tokenizer, LazyTokenizer)


@pytest.fixture(scope="module", params=["as published", "with tokens of one's own"])
def pair(request, tmp_path_factory):
    tokenizer = tiny_tokenizers.unigram()
    if request.param != "as published":
        for token in OWN_TOKENS:
            (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenization, "_LARGE_FILE", 0)
        lazy, whole = both(tmp_path_factory.mktemp("tokenizer"), tokenizer)
    assert is_lazy(lazy)
    assert not is_lazy(whole)
    return lazy, whole


def texts_of_pieces(whole):
    """Texts in which pieces of all lengths meet, with tokens that stand for nothing of the text between them."""
    choice = random.Random(0).choice
    vocabulary = [whole._tokenizer.id_to_token(token_id) for token_id in range(whole.n_ids)]
    joins = ["", " ", "▁", "<mask>", "</s>", "<unk>", "[new]", "été", "\n", "\u3000", "\U0010fffe", "\ufffd"]
    return ["".join(choice(vocabulary) + choice(joins) for _ in range(12)) for _ in range(200)]


def test_ids_and_offsets_are_those_of_the_whole_tokenizer(pair):
    lazy, whole = pair
    for texts in (list(ALL_TEXTS), texts_of_pieces(whole)):
        ours, theirs = (each.encode(texts, prompt="query: ", max_tokens=64) for each in pair)
        np.testing.assert_array_equal(ours.batch.ids, theirs.batch.ids)
        np.testing.assert_array_equal(ours.unknown_share, theirs.unknown_share)
        assert ours.unknown_share.max() > 0
        for text in texts[:100]:
            assert lazy.encode([text], prompt="", max_tokens=9).batch.ids.tolist() == (
                whole.encode([text], prompt="", max_tokens=9).batch.ids.tolist()
            )
            ours, theirs = (each.offsets(text, prompt="query: ", max_tokens=64) for each in pair)
            assert (ours.tokens, ours.offsets.tolist()) == (theirs.tokens, theirs.offsets.tolist())
            assert ours.unknown.tolist() == theirs.unknown.tolist()
            np.testing.assert_array_equal(lazy.spans(text), whole.spans(text))


@settings(max_examples=40)
@given(text=st.text(max_size=60))
def test_any_text_has_the_same_ids(pair, text):
    lazy, whole = pair
    text = tokenization.replace_surrogates(text)
    assert lazy.encode([text], prompt="", max_tokens=64).batch.ids.tolist() == (
        whole.encode([text], prompt="", max_tokens=64).batch.ids.tolist()
    )


def test_the_vocabulary_is_the_same(pair):
    lazy, whole = pair
    assert lazy.n_ids == whole.n_ids
    names = [whole._tokenizer.id_to_token(token_id) for token_id in range(whole.n_ids)]
    assert [lazy._tokenizer.id_to_token(token_id) for token_id in range(lazy.n_ids)] == names
    for name in [*names, "", "no such piece", "▁" * 99]:
        assert lazy._tokenizer.token_to_id(name) == whole._tokenizer.token_to_id(name)
    assert lazy.reads_end_spaces == whole.reads_end_spaces
    assert lazy._unknown_id == whole._unknown_id == 3


def test_after_much_text_the_whole_vocabulary_is_read(tmp_path, monkeypatch):
    lazy, whole = both(tmp_path, tiny_tokenizers.unigram())
    monkeypatch.setattr(lazy_tokenizer, "_FEW", 5_000)
    for _ in range(4):
        ours, theirs = (each.encode(ALL_TEXTS[:9], prompt="", max_tokens=64) for each in (lazy, whole))
        np.testing.assert_array_equal(ours.batch.ids, theirs.batch.ids)
    assert lazy._tokenizer._whole is not None
    ours, theirs = (each.offsets("summit define", prompt="", max_tokens=64) for each in (lazy, whole))
    assert ours.offsets.tolist() == theirs.offsets.tolist()


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_file_that_is_replaced_meanwhile_changes_nothing(tmp_path, monkeypatch, is_lost):
    lazy, whole = both(tmp_path, tiny_tokenizers.unigram())
    path = tmp_path / "tokenizer.json"
    path.unlink() if is_lost else tiny_tokenizers.wordpiece().save(str(path))
    monkeypatch.setattr(lazy_tokenizer, "_FEW", 0)
    ours, theirs = (each.encode(ALL_TEXTS[:9], prompt="", max_tokens=64) for each in (lazy, whole))
    np.testing.assert_array_equal(ours.batch.ids, theirs.batch.ids)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "a folder"])
def test_a_damaged_index_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    _, whole = both(tmp_path, tiny_tokenizers.unigram())
    [path] = (tmp_path / "cache" / "vocabularies").iterdir()
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        flipped = content[:-99] + bytes([content[-99] ^ 1]) + content[-98:]
        path.write_bytes({"cut": content[:-1], "flipped": flipped, "empty": b""}[damage])
    lazy = Tokenizer.from_folder(tmp_path, pooling="mean")
    assert is_lazy(lazy)
    ours, theirs = (each.encode(ALL_TEXTS[:9], prompt="", max_tokens=64) for each in (lazy, whole))
    np.testing.assert_array_equal(ours.batch.ids, theirs.batch.ids)
    assert damage == "a folder" or path.read_bytes() == content


@pytest.mark.parametrize(
    ("make", "pooling"), [(tiny_tokenizers.wordpiece, "mean"), (tiny_tokenizers.byte_fallback_bpe, "last_token")]
)
def test_other_models_are_read_whole(tmp_path, make, pooling):
    make().save(str(tmp_path / "tokenizer.json"))
    assert not is_lazy(Tokenizer.from_folder(tmp_path, pooling=pooling))


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts["model"].update(byte_fallback=True),
        lambda parts: parts.update(pre_tokenizer=None),
        lambda parts: parts["model"]["vocab"].append(["a\nb", -5.0]),
        lambda parts: parts["model"]["vocab"].append(parts["model"]["vocab"][9]),
    ],
    ids=["bytes", "one word", "line end in a piece", "a piece twice"],
)
def test_what_is_not_understood_is_read_whole(tmp_path, change):
    path = tmp_path / "tokenizer.json"
    tiny_tokenizers.unigram().save(str(path))
    parts = json.loads(path.read_text(encoding="utf-8"))
    change(parts)
    path.write_text(json.dumps(parts), encoding="utf-8")
    assert not is_lazy(Tokenizer.from_folder(tmp_path, pooling="mean"))


@pytest.mark.parametrize("old", ['"type": "Unigram"', '"type": "Metaspace"', '"vocab"'])
def test_damage_is_refused_in_the_usual_words(tmp_path, old):
    path = tmp_path / "tokenizer.json"
    tiny_tokenizers.unigram().save(str(path))
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, "7", 1), encoding="utf-8")
    with pytest.raises(ModelFilesError, match="is damaged"):
        Tokenizer.from_folder(tmp_path, pooling="mean")
