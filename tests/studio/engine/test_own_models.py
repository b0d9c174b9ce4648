"""Models that whoever starts the Studio names: what is taken, under which name, and what is refused at the start."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save

from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError, ModelFilesError, PromptError, UnknownModelError
from e5studio.hub import ModelFiles
from e5studio.model_pool import ModelPool
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.api.endpoints import Endpoints
from e5studio.studio.engine.catalog import Catalog, named_catalog
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.form.form import picker_models
from e5studio.studio.form.link import read_link
from e5studio.studio.page.save import export_page
from e5studio.studio.page.view_state import SharedView
from tests.studio.conftest import ENGLISH

E5_PROMPTS = {"query": "query: ", "document": "passage: "}
INSTRUCT_PROMPTS = {"query": f"Instruct: {WEB_SEARCH_INSTRUCTION}\nQuery: ", "document": ""}


@pytest.fixture
def own(checkpoints, tmp_path):
    """Makes a folder as a fine-tune leaves it; "prompts" are what it states."""

    def make(path="my-e5", prompts=None, name="e5"):
        folder = tmp_path / path
        shutil.copytree(checkpoints(name).folder, folder)
        if prompts is not None:
            stated = {"prompts": prompts, "default_prompt_name": None}
            (folder / "config_sentence_transformers.json").write_text(json.dumps(stated))
        return folder

    return make


def change_weights(folder):
    """As `cp` does it: in place."""
    weights = {name: 1.5 * weight for name, weight in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))


def test_a_folder_stands_first_under_yours_and_is_the_start(own):
    catalog = named_catalog([f"{own()}=query_passage", "e5-base-v2"])
    first, second = catalog.cards()[:2]
    assert (first.name, first.short_name, first.group, first.is_here) == ("my-e5", "my-e5", "Yours", True)
    assert (first.n_layers, first.embed_dim, first.prompts, first.languages) == (3, 48, "query and passage", "")
    assert second.group == "English"
    assert catalog.choose().name == catalog.offered("my-e5").name == "my-e5"
    assert named_catalog(["e5-base-v2", f"{own('other')}=none"]).choose().name == "intfloat/e5-base-v2"


@pytest.mark.parametrize(("prompts", "kind"), [(E5_PROMPTS, "query_passage"), (INSTRUCT_PROMPTS, "instruct")])
def test_a_folder_tells_its_prompt_kind(own, prompts, kind):
    assert named_catalog([str(own(prompts=prompts))]).offered("my-e5").prompt_kind == kind


@pytest.mark.parametrize("prompts", [None, {"query": "", "document": ""}, {"query": "ask: ", "document": ""}])
def test_a_folder_that_does_not_tell_it_is_refused_with_the_kinds(own, prompts):
    folder = own(prompts=prompts)
    with pytest.raises(PromptError, match=r"query_passage.*instruct or none") as caught:
        named_catalog([str(folder)])
    assert f"--model {folder}=KIND" in str(caught.value)


def test_the_only_own_model_takes_the_option(own):
    catalog = named_catalog(["e5-small-v2", str(own())], ["query_passage"])
    assert catalog.offered("my-e5").prompt_kind == "query_passage"


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["{a}", "{b}"], ["query_passage"]),  # of which?
        (["{a}", "{b}"], ["query_passage", "none"]),
        (["{a}"], ["query_passage", "query_passage"]),
        (["{a}=none"], ["query_passage"]),
        (["e5-small-v2"], ["query_passage"]),
        (["e5-small-v2=instruct"], []),
        (["{a}=query"], []),
        (["{a}"], ["query"]),
        (["someone/else=query"], []),
    ],
)
def test_a_prompt_kind_that_may_be_meant_otherwise_is_refused(own, names, kinds):
    paths = {"a": own("a"), "b": own("b")}
    with pytest.raises(PromptError):
        named_catalog([name.format(**paths) for name in names], kinds)


def test_a_kind_against_what_the_folder_states_is_refused(own):
    with pytest.raises(ModelFilesError, match="config_sentence_transformers"):
        named_catalog([f"{own(prompts=E5_PROMPTS)}=instruct"])


def test_an_equals_sign_in_a_path_is_one(own):
    folder = own("lr=3e-5")
    assert named_catalog([f"{folder}=none"]).offered("lr=3e-5").prompt_kind == "none"
    assert named_catalog([str(folder)], ["none"]).offered("lr=3e-5").prompt_kind == "none"
    with pytest.raises(ModelFilesError, match="There is no folder"):
        named_catalog([f"{folder}/lr=4"])


def test_folders_of_one_name_are_told_apart(own):
    folders = [own(path) for path in ("a/final", "b/final", "c/b/final", "models/e5-small-v2")]
    catalog = named_catalog([f"{folder}=query_passage" for folder in folders])
    names = [each.meta.name for each in catalog.own]
    assert names == ["final (a)", "final (b)", "final (b) 2", "e5-small-v2 (models)"]
    assert [catalog.loadable(catalog.offered(name))[1]["path"] for name in names] == folders
    assert catalog.offered("e5-small-v2").name == ENGLISH
    assert [each.source.name for each in catalog.own] == ["final", "final", "final", "e5-small-v2"]


@pytest.mark.parametrize("name", ["line\nbreak", "x" * 200, "<b>", "tab\t", "\u202eback"])
def test_any_name_of_a_folder_is_one_that_can_be_asked_for(own, name):
    [each] = named_catalog([f"{own(name)}=none"]).own
    assert each.meta.name.isprintable()
    assert named_catalog([f"{each.folder}=none"]).offered(each.meta.name) == each.meta


def test_what_cannot_be_used_is_refused_with_one_sentence(own, tmp_path):
    (tmp_path / "empty").mkdir()
    pickled = own("pickled", E5_PROMPTS)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    cut = own("cut", E5_PROMPTS)
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-9])
    (own("tokenizer", E5_PROMPTS) / "tokenizer.json").write_text("{}")
    twice = own("twice", E5_PROMPTS)
    (tmp_path / "link").symlink_to(twice)
    refused = {
        f"{tmp_path}/nowhere=none": ModelFilesError,
        f"{tmp_path}/empty": ModelFilesError,
        str(pickled): ModelFilesError,
        str(cut): ModelFilesError,
        f"{tmp_path}/tokenizer": ModelFilesError,
        "e5-smal-v2": UnknownModelError,
        "my-finetune": UnknownModelError,
        "someone/else": PromptError,
    }
    for name, error in refused.items():
        with pytest.raises(error) as caught:
            named_catalog([name])
        assert "\n" not in str(caught.value)
    for names in ([str(twice), f"{tmp_path}/link"], ["e5-small-v2", ENGLISH]):
        with pytest.raises(UnknownModelError, match="twice"):
            named_catalog(names)


def test_a_model_of_the_hub_keeps_its_id_and_the_commit_of_the_start(own, monkeypatch):
    folder = own("snapshot", E5_PROMPTS)
    monkeypatch.setattr("e5studio.hub.find_local", lambda *_, **__: ModelFiles(folder, "cache", "c0ffee"))
    catalog = named_catalog(["https://huggingface.co/someone/my-e5"])
    meta = catalog.offered("someone/my-e5")
    source, files = catalog.loadable(meta)
    assert (source.revision, files) == ("c0ffee", {"path": None, "revision": "c0ffee"})
    assert catalog.card(meta).short_name == "someone/my-e5"


def test_visitors_name_it_by_its_short_name_and_see_no_path(own, tmp_path):
    folder = own(prompts=E5_PROMPTS)
    engine = Engine(ModelPool(), catalog=named_catalog([str(folder)]))
    for name in (str(folder), "./my-e5", "~/my-e5", "someone/my-e5"):
        with pytest.raises(UnknownModelError):
            engine.catalog.offered(name)
    result = engine.score(ScoreRequest("my-e5", "retrieval", "a cat", "one dog\nsome bees"))
    with E5Encoder(folder) as encoder:
        vectors = np.concatenate([encoder.encode_query(["a cat"]), encoder.encode_document(["one dog", "some bees"])])
        assert result.fingerprint == encoder.spec.fingerprint
    assert result.vectors == pytest.approx(vectors, abs=1e-6)
    saved = export_page(result, SharedView()).content
    shown = [saved.decode(), json.dumps(picker_models(engine.catalog)), json.dumps(Endpoints(engine, "my-e5").models())]
    assert not [text for text in shown if str(tmp_path) in text or tmp_path.name in text]
    assert read_link(json.loads(saved), engine.catalog, engine.limits).model == "my-e5"
    with pytest.raises(UnknownModelError):  # on another Studio
        read_link(json.loads(saved), Catalog(), engine.limits)
    engine.pool.clear()


def test_programs_ask_for_it_as_for_any_other(own):
    engine = Engine(ModelPool(), catalog=named_catalog([str(own(prompts=E5_PROMPTS)), f"{own('other')}=none"]))
    endpoints = Endpoints(engine, "my-e5")
    assert [each["is_default"] for each in endpoints.models()[:2]] == [True, False]
    assert endpoints.search(["a cat"], ["a dog", "a cat"], 1)["model"] == "my-e5"
    assert endpoints.search(["a cat"], ["a dog", "a cat"], 1, "other")["model"] == "other"
    assert endpoints.explain("a cat", "a dog")["model"] == "my-e5"
    engine.pool.clear()


def test_weights_that_are_replaced_are_not_mixed_with_the_old_ones(own, tmp_path, caplog):
    folder = own(prompts=E5_PROMPTS)
    engine = Engine(ModelPool(), catalog=named_catalog([str(folder)]))
    request = ScoreRequest("my-e5", "retrieval", "a cat", "one dog\nsome bees")
    before = engine.score(request)
    change_weights(folder)
    assert engine.score(request).scores == pytest.approx(before.scores)  # they are in memory
    engine.pool.clear()
    with pytest.raises(E5StudioError, match="have changed") as caught:
        engine.score(request, before=[before])
    assert str(tmp_path) not in message_for_visitor(caught.value)
    assert str(folder) in caplog.text
