"""Options of `E5Embeddings`: which are refused and how, what objects share, how they copy, pickle and compare."""

from __future__ import annotations

import copy
import pickle

import pytest
from langchain_core.embeddings import Embeddings
from langchain_e5studio import E5Embeddings
from pydantic import ValidationError

from e5studio import get_model_pool
from e5studio.errors import (
    BackendError,
    E5StudioError,
    FingerprintMismatchError,
    ModelUnavailableError,
    PromptError,
    PromptWarning,
    UnknownModelError,
)

TEXTS = ["how much protein should a female eat", "the top of a mountain"]
MODELS = pytest.mark.parametrize("name", ["e5", "instruct", "offline"])


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"model": "e5-smal-v2"}, UnknownModelError, "Did you mean intfloat/e5-small-v2"),
        ({"model": "nobody/knows-it"}, UnknownModelError, "Unknown model 'nobody/knows-it'"),
        ({"model": ""}, UnknownModelError, "is no model"),
        ({"model": "intfloat/e5-small-v2"}, ModelUnavailableError, "switched off. HF_HUB_OFFLINE=1 is set"),
        ({"model": "e5-small-v2", "local_files_only": True}, ModelUnavailableError, "downloads are switched off"),
        ({"model": "nobody/has-it", "prompt_kind": "none"}, ModelUnavailableError, "nobody/has-it is not on this"),
        ({"model": "./no-such-folder", "prompt_kind": "none"}, E5StudioError, "There is no folder"),
    ],
)
def test_a_missing_model_is_a_sentence(given, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        E5Embeddings(**given)
    assert not isinstance(caught.value, ValidationError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["e5", "offline"])
def test_an_instruction_is_refused_where_the_model_takes_none(name, make):
    with pytest.raises(PromptError, match="was not trained with instructions"):
        make(name, instruction="Find it.")


@pytest.mark.parametrize("given", [{"dtype": "float8"}, {"backend": "tensorflow"}, {"long_documents": "pool"}])
def test_a_choice_that_does_not_exist_is_refused(given, make):
    [option] = given
    with pytest.raises(ValidationError, match=rf"{option}\s+Input should be '"):
        make("e5", **given)


def test_a_device_that_is_not_here_is_refused(make):
    with pytest.raises(BackendError, match=r"Here are: .*cpu"):
        make("e5", device="gpu")


@pytest.mark.parametrize("given", [{"max_tokens": 2}, {"truncate_dim": 10_000}, {"token_budget": 0}])
def test_a_number_that_cannot_be_is_refused(given, make):
    [option] = given
    with pytest.raises(ValueError, match=rf"^{option}="):
        make("e5", **given)


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("batch_size", "token_budget="),
        ("model_kwargs", "device=, dtype=, revision="),
        ("encode_kwargs", "token_budget="),
        ("query_instruction", "instruction="),
        ("normalize_embeddings", "length 1"),
        ("device_map", "device="),
        ("max_tokns", "Did you mean max_tokens"),
        ("model_nmae", "Did you mean model"),
        ("xyz", "The options: backend, cache_folder, "),
    ],
)
def test_unknown_options_are_refused_with_what_takes_their_place(option, advice, make):
    with pytest.raises(ValidationError, match=rf"{option} is no option here.* {advice}"):
        make("e5", **{option: {}})


def test_model_and_model_name_are_the_same(options, make):
    given = {**options["e5"]}
    embeddings = E5Embeddings(model_name=given.pop("model"), **given)
    assert embeddings == make("e5")
    assert embeddings.model_name == options["e5"]["model"]
    assert embeddings.embed_query("a") == make("e5").embed_query("a")


def test_options_cannot_be_assigned(make):
    embeddings = make("e5")
    for option in ("model_name", "symmetric", "truncate_dim"):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(embeddings, option, getattr(make("instruct"), option))
    with pytest.raises(ValidationError):
        embeddings.batch_size = 10


def test_an_instruct_model_without_an_instruction_warns_at_construction_alone(instruct):
    with pytest.warns(PromptWarning, match="web-search task") as caught:
        embeddings = E5Embeddings(model=str(instruct.folder), prompt_kind="instruct", device="cpu")
    assert [warning.filename for warning in caught] == [__file__]
    embeddings.embed_query("a")  # warnings are errors here
    embeddings.embed_documents(["a"])
    pickle.loads(pickle.dumps(embeddings)).embed_query("a")
    assert "web search query" in embeddings.report(["a"], "query").prompt.text


def test_objects_share_one_loaded_model(e5, make):
    get_model_pool().clear()  # of what other tests have left
    objects = [make("e5"), make("e5", truncate_dim=8), make("e5", max_tokens=64), make("e5", symmetric=True)]
    objects += [E5Embeddings(model=f"{e5.folder}/", prompt_kind="query_passage", device="cpu", dtype="float32")]
    objects += [copy.deepcopy(objects[0]), pickle.loads(pickle.dumps(objects[0]))]
    vectors = [embeddings.embed_query("a") for embeddings in objects]
    assert len({len(vector) for vector in vectors}) == 2
    assert len({id(embeddings._embedder.encoder._backend) for embeddings in objects}) == 1
    assert [encoder.files.folder for encoder in get_model_pool().loaded()].count(e5.folder) == 1


@MODELS
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_equal_and_give_equal_vectors(name, duplicate, make):
    embeddings = make(name, truncate_dim=24, long_documents="chunk-and-pool")
    twin = duplicate(embeddings)
    assert isinstance(twin, Embeddings)
    assert twin is not embeddings
    assert twin == embeddings
    assert hash(twin) == hash(embeddings)
    assert twin.embed_query(TEXTS[0]) == embeddings.embed_query(TEXTS[0])
    assert twin.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)
    assert twin.fingerprint == embeddings.fingerprint


def test_other_options_are_another_object(make):
    objects = {make("e5"), make("e5"), make("e5", symmetric=True), make("e5", truncate_dim=8), make("instruct")}
    assert len(objects) == 4
    assert make("e5") != make("e5", symmetric=True)
    assert make("e5") != "e5"


@MODELS
def test_a_pickle_carries_no_weights(name, make):
    assert len(pickle.dumps(make(name))) < 10_000


def test_a_pickle_refuses_files_that_changed_since(e5, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in e5.folder.rglob("*"):
        if path.is_file():
            copied = folder / path.relative_to(e5.folder)
            copied.parent.mkdir(exist_ok=True)
            copied.write_bytes(path.read_bytes())
    embeddings = E5Embeddings(model=str(folder), prompt_kind="query_passage", device="cpu")
    pickled = pickle.dumps(embeddings)
    del embeddings
    get_model_pool().clear()
    with (folder / "special_tokens_map.json").open("a") as file:
        file.write("\n")
    with pytest.raises(FingerprintMismatchError, match="must not be mixed"):
        pickle.loads(pickled).embed_query("a")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("e5", {"symmetric": True}),
        ("e5", {"truncate_dim": 8}),
        ("e5", {"dtype": "bfloat16"}),
        ("instruct", {"instruction": "Identify the topic of the given article.", "symmetric": True}),
    ],
)
def test_model_copy_gives_vectors_of_the_changed_option(name, change, make):
    embeddings = make(name)
    changed = embeddings.model_copy(update=change)
    assert changed == make(name, **change)
    assert changed.embed_documents(TEXTS) == make(name, **change).embed_documents(TEXTS)
    assert changed.embed_documents(TEXTS) != embeddings.embed_documents(TEXTS)
    assert embeddings == make(name)


@pytest.mark.parametrize("key", ["model", "model_name"])
def test_model_copy_changes_the_model_by_both_names(key, checkpoints, make):
    other = checkpoints("multilingual-e5")
    changed = make("e5").model_copy(update={key: str(other.folder), "prompt_kind": "query_passage"})
    assert changed.model_name == changed.model == str(other.folder)
    assert changed.embed_query("a") != make("e5").embed_query("a")


def test_a_copy_with_another_model_reads_none_of_the_old_files(checkpoints):
    old, other = checkpoints("e5"), checkpoints("multilingual-e5")
    named = E5Embeddings(
        model="tiny", path=old.folder, prompt_kind="query_passage", revision="main", max_tokens=64, device="cpu"
    )
    changed = named.model_copy(update={"model": other.folder, "prompt_kind": "query_passage"})
    assert (changed.path, changed.revision, changed.max_tokens) == (None, None, 64)
    expected = E5Embeddings(model=other.folder, prompt_kind="query_passage", max_tokens=64, device="cpu")
    assert changed.embed_documents(TEXTS) == expected.embed_documents(TEXTS)
    with pytest.raises(E5StudioError, match="prompt_kind"):
        named.model_copy(update={"model": other.folder})  # how the old one is prompted says nothing of it


def test_folders_may_be_paths(checkpoints, tmp_path):
    made = checkpoints("e5")
    given = {"path": made.folder, "prompt_kind": "query_passage", "device": "cpu"}
    embeddings = E5Embeddings(model="tiny", cache_folder=tmp_path / "vectors", **given)
    assert embeddings.path == str(made.folder)
    embeddings.embed_query("a")
    assert (tmp_path / "vectors").is_dir()


def test_model_copy_refuses_what_the_constructor_refuses(make):
    with pytest.raises(ValidationError, match="token_budget="):
        make("e5").model_copy(update={"batch_size": 4})
    with pytest.raises(PromptError):
        make("e5").model_copy(update={"instruction": "Find it."})


def test_the_fingerprint_tells_encoders_apart(make):
    others = [
        make("e5"),
        make("e5", symmetric=True),
        make("e5", long_documents="chunk-and-pool"),
        make("e5", truncate_dim=8),
        make("e5", max_tokens=64),
        make("instruct"),
        make("offline"),
    ]
    assert len({embeddings.fingerprint for embeddings in others}) == len(others)
