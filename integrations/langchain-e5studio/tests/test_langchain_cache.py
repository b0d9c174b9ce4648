"""Vectors kept in a folder are those of the same model, role, prompt and setting, and of no other."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from e5studio import E5Encoder
from e5studio.errors import TextError, TruncationWarning
from tests.corpus import ORDINARY_TEXTS, TRAINING_TEXT

TEXTS = [text[:150] for text in ORDINARY_TEXTS] + [ORDINARY_TEXTS[0]]


@pytest.fixture
def no_model(monkeypatch):
    """Forbids the model to run, from the moment it is called."""

    def forbid() -> None:
        def fail(*_, **__):
            raise AssertionError("the model ran")

        monkeypatch.setattr(E5Encoder, "embed_rows", fail)

    return forbid


@pytest.mark.parametrize("name", ["e5", "instruct", "offline"])
async def test_the_second_time_no_model_runs(name, make, tmp_path, no_model):
    cached, plain = make(name, cache_folder=str(tmp_path)), make(name)
    documents, query = plain.embed_documents(TEXTS), plain.embed_query(TEXTS[0])
    assert cached.embed_query(TEXTS[0]) == query
    assert cached.embed_documents(TEXTS) == pytest.approx(np.array(documents), abs=1e-6)  # see below
    documents = cached.embed_documents(TEXTS)
    # Without prompts a text's vector is one for both roles, computed alone or, to rounding, in a batch with others.
    assert (documents[0] == query) == (name == "offline")
    twin = pickle.loads(pickle.dumps(cached))
    assert twin.fingerprint == cached.fingerprint
    no_model()
    for embeddings in (cached, make(name, cache_folder=str(tmp_path)), twin):
        assert embeddings.embed_documents(TEXTS) == documents
        assert await embeddings.aembed_documents(TEXTS[::-1]) == documents[::-1]
        assert await embeddings.aembed_query(TEXTS[0]) == query


def test_models_roles_and_settings_share_a_folder(make, tmp_path):
    settings = [
        ("e5", {}),
        ("e5", {"symmetric": True}),
        ("e5", {"truncate_dim": 24}),
        ("e5", {"dtype": "bfloat16"}),
        ("instruct", {}),
        ("instruct", {"instruction": "Identify the topic of the given article."}),
        ("instruct", {"symmetric": True}),
        ("offline", {}),
    ]
    for _ in range(2):
        for name, options in settings:
            cached, plain = make(name, cache_folder=str(tmp_path), **options), make(name, **options)
            assert cached.embed_documents(["Paris"]) == plain.embed_documents(["Paris"])
            assert cached.embed_query("Paris") == plain.embed_query("Paris")


def test_pooled_vectors_are_kept_apart_from_those_of_a_beginning(make, tmp_path):
    cut, pooled = (make("e5", cache_folder=str(tmp_path), long_documents=way) for way in ("truncate", "chunk-and-pool"))
    with pytest.warns(TruncationWarning):
        [beginning] = cut.embed_documents([TRAINING_TEXT])
    assert pooled.embed_documents([TRAINING_TEXT]) == make("e5", long_documents="chunk-and-pool").embed_documents(
        [TRAINING_TEXT]
    )
    assert pooled.embed_documents([TRAINING_TEXT]) != [beginning]


def test_titles_are_part_of_what_is_kept(make, tmp_path):
    cached = make("e5", cache_folder=str(tmp_path))
    cached.embed_documents(["text"])
    assert cached.embed_documents(["text"], titles=["Title"]) == make("e5").embed_documents(["text"], titles=["Title"])


def test_bad_texts_are_named_by_their_place_in_the_call(make, tmp_path):
    cached = make("e5", cache_folder=str(tmp_path))
    cached.embed_documents(["known"])
    assert cached.embed_documents([]) == []
    with pytest.raises(TextError) as caught:
        cached.embed_documents(["known", "new", ""])
    assert caught.value.indices == (2,)
