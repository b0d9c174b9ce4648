"""The folder of a trained model has the same vectors in every library, which find its prompts by themselves."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from e5studio import E5Encoder, ModelMeta
from e5studio.errors import ModelFilesError
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.server.loading import load_models, read_model
from e5studio.studio.engine.catalog import named_catalog
from e5studio.training.model_folder import write_start_folder
from tests.training.conftest import make_pairs, write_pairs

sentence_transformers = pytest.importorskip("sentence_transformers")

TEXTS = ["The Summit of a Mountain", "how much protein", "ends in a line break\n", "summit " * 30 + "protein " * 40]
NAMES = ["e5", "multilingual-e5", "multilingual-e5-small", "multilingual-e5-instruct"]


@pytest.fixture(scope="module")
def folder(checkpoints, tmp_path_factory):
    """A small English E5, trained."""
    from e5studio.training import TrainOptions, train

    root = tmp_path_factory.mktemp("saved")
    made = checkpoints("e5")
    parent = ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch")
    options = TrainOptions(held_out=0, recipe={"batch_size": 8, "n_epochs": 1, "learning_rate": 1e-3})
    return train(write_pairs(root / "pairs.jsonl", make_pairs(16)), parent, root / "my-e5", options).folder


def load(folder):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def assert_same(folder, kind):
    own, theirs = E5Encoder(folder, device="cpu"), load(folder)
    assert own.meta.prompt_kind == kind
    np.testing.assert_allclose(theirs.encode_query(TEXTS), own.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(theirs.encode_document(TEXTS), own.encode_document(TEXTS), atol=1e-5)


@pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning", "ignore::e5studio.errors.PromptWarning")
@pytest.mark.parametrize("name", NAMES)
def test_sentence_transformers_has_the_same_vectors(name, encoders, tmp_path):
    """Also of texts that end in a line break, which transformers 5 would read otherwise from the parent's folder."""
    write_start_folder(encoders(name), tmp_path / "start")
    assert_same(tmp_path / "start", encoders(name).meta.prompt_kind)


@pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning")
def test_after_training_too(folder, encoders):
    assert_same(folder, "query_passage")
    moved = E5Encoder(folder, device="cpu").encode_query(TEXTS) - encoders("e5").encode_query(TEXTS)
    assert np.abs(moved).max() > 1e-3


def test_a_model_without_prompts_is_known_as_such(encoders, tmp_path):
    encoder = encoders("e5")
    meta = ModelMeta(**{**vars(encoder.meta), "prompt_kind": "none"})
    with E5Encoder(meta, path=encoder.files.folder, device="cpu") as plain:
        write_start_folder(plain, tmp_path / "start")
    assert E5Encoder(tmp_path / "start", device="cpu").meta.prompt_kind == "none"
    with pytest.raises(ModelFilesError, match=r"e5studio\.json says prompt_kind 'none'"):
        E5Encoder(tmp_path / "start", prompt_kind="query_passage", device="cpu")


def test_a_kind_that_contradicts_the_stated_prompts_is_refused(folder, tmp_path):
    changed = shutil.copytree(folder, tmp_path / "changed")
    (changed / "e5studio.json").write_text(json.dumps({"prompt_kind": "instruct"}))
    with pytest.raises(ModelFilesError, match="prompts"):
        E5Encoder(changed, device="cpu")
    (changed / "e5studio.json").write_text(json.dumps({"prompt_kind": "e5"}))
    with pytest.raises(ModelFilesError, match=r"e5studio\.json says prompt_kind 'e5'"):
        E5Encoder(changed, device="cpu")


@pytest.mark.filterwarnings("ignore::e5studio.errors.TruncationWarning")
def test_langchain_and_llama_index_find_the_prompts(folder):
    langchain = pytest.importorskip("langchain_e5studio")
    llama_index = pytest.importorskip("llama_index.embeddings.e5studio")
    own = E5Encoder(folder, device="cpu")
    chain = langchain.E5Embeddings(model=str(folder), device="cpu")
    index = llama_index.E5Embedding(model_name=str(folder), device="cpu")
    query, document = own.encode_query(TEXTS[0]), own.encode_document(TEXTS[1])
    np.testing.assert_allclose(
        [chain.embed_query(TEXTS[0]), index.get_query_embedding(TEXTS[0])], [query] * 2, atol=1e-5
    )
    vectors = [chain.embed_documents([TEXTS[1]])[0], index.get_text_embedding(TEXTS[1])]
    np.testing.assert_allclose(vectors, [document] * 2, atol=1e-5)


def test_the_server_and_the_studio_find_them(folder):
    options = read_model(str(folder), ModelOptions("", device="cpu", backend="torch"))
    _, [lease] = load_models([options], EncodeOptions(show_progress=False))
    try:
        assert lease.encoder.meta.prompt_kind == "query_passage"
    finally:
        lease.release()
    assert named_catalog([str(folder)]).choose().name == "my-e5"


def test_the_command_line_asks_for_nothing_more(folder, run):
    result = run("score", "-q", "summit", "-p", "protein", "--model", folder, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
