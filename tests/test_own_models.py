"""A model outside the table works when the caller says what it is, and nothing is guessed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e5studio import hub
from e5studio.encoder import E5Encoder
from e5studio.errors import ModelFilesError, PromptError, UnknownModelError
from tests.checkpoints import Checkpoint, CheckpointName
from tests.test_hub import FakeHub, connect

Checkpoints = Callable[[CheckpointName], Checkpoint]


@pytest.fixture
def folder(tmp_path: Path, checkpoints: Checkpoints) -> Path:
    """A fine-tuned English E5 in a folder of its own."""
    return shutil.copytree(checkpoints("e5").folder, tmp_path / "my-e5")


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folder_and_prompt_kind_are_enough(folder: Path, checkpoints: Checkpoints) -> None:
    described = E5Encoder(folder, prompt_kind="query_passage")
    declared = E5Encoder(checkpoints("e5").meta, path=folder)
    assert described.meta.name == "my-e5"
    assert (described.meta.embed_dim, described.meta.max_tokens, described.meta.pooling) == (48, 512, "mean")
    np.testing.assert_array_equal(described.encode_query("summit"), declared.encode_query("summit"))


def test_folder_as_a_string(folder: Path) -> None:
    assert E5Encoder(str(folder), prompt_kind="none").encode("summit").shape == (48,)


def test_a_folder_below_the_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    of_name, of_path = E5Encoder("~/my-e5", prompt_kind="none"), E5Encoder(Path("~/my-e5/"), prompt_kind="none")
    assert of_name.files.folder == of_path.files.folder == folder.resolve()


@pytest.mark.parametrize(
    "name", ["./my-e5", "/nowhere/my-e5", "a/b/my-e5", "~/my-e5", "~nobody/my-e5", f"/{'x' * 5000}"]
)
def test_a_path_that_leads_nowhere_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(ModelFilesError, match="There is no folder"):
        E5Encoder(name, prompt_kind="query_passage")


@pytest.mark.parametrize("model", ["", "  ", None, 5])
def test_no_model(model: object) -> None:
    with pytest.raises(UnknownModelError, match="is no model"):
        E5Encoder(model)  # type: ignore[arg-type]


def test_unknown_prompt_kind(folder: Path) -> None:
    with pytest.raises(PromptError, match=r"prompt_kind='foo' is unknown\. It is one of 'query_passage'"):
        E5Encoder(folder, prompt_kind="foo")  # type: ignore[arg-type]


@pytest.mark.parametrize("stated", [-5, 0, 2.5, "512"])
def test_a_stated_length_that_is_none(folder: Path, stated: object) -> None:
    rewrite(folder / "sentence_bert_config.json", max_seq_length=stated)
    with pytest.raises(ModelFilesError, match="max_seq_length"):
        E5Encoder(folder, prompt_kind="query_passage")


def test_other_weights_in_the_folder_do_not_count(folder: Path) -> None:
    n_parameters = E5Encoder(folder, prompt_kind="query_passage").meta.n_parameters
    (folder / "model.fp16.safetensors").write_bytes(b"xx")
    assert E5Encoder(folder, prompt_kind="query_passage").meta.n_parameters == n_parameters


def test_folder_alone_is_not_guessed(folder: Path) -> None:
    with pytest.raises(PromptError, match="Pass prompt_kind='query_passage'"):
        E5Encoder(folder)


def test_roberta_positions_leave_512_tokens(checkpoints: Checkpoints) -> None:
    made = checkpoints("multilingual-e5")
    assert E5Encoder(made.folder, prompt_kind="query_passage").meta.max_tokens == 512
    with pytest.raises(ModelFilesError, match="512 usable positions"):
        E5Encoder(made.meta, path=made.folder, max_tokens=514)


def test_last_token_pooling_is_read(checkpoints: Checkpoints) -> None:
    made = checkpoints("e5-mistral-instruct")
    assert E5Encoder(made.folder, prompt_kind="instruct").meta.pooling == "last_token"


def test_pooling_is_not_guessed(folder: Path, checkpoints: Checkpoints) -> None:
    shutil.rmtree(folder / "1_Pooling")
    with pytest.raises(ModelFilesError, match="does not say how tokens become one vector"):
        E5Encoder(folder, prompt_kind="query_passage")
    assert E5Encoder(checkpoints("e5").meta, path=folder).encode_query("summit").shape == (48,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embed_dim": 384}, "embed_dim 48, the description says 384"),
        ({"n_layers": 12}, "n_layers"),
        ({"model_type": "xlm-roberta"}, "model_type 'bert', the description says 'xlm-roberta'"),
        ({"pooling": "last_token"}, "pooling 'mean', the description says 'last_token'"),
        ({"max_tokens": 4096}, "512 usable positions"),
    ],
)
def test_files_and_description_must_agree(
    change: dict[str, Any], message: str, folder: Path, checkpoints: Checkpoints
) -> None:
    with pytest.raises(ModelFilesError, match=message):
        E5Encoder(replace(checkpoints("e5").meta, **change), path=folder)


def test_stated_length_is_not_exceeded_silently(folder: Path, checkpoints: Checkpoints) -> None:
    rewrite(folder / "sentence_bert_config.json", max_seq_length=128)
    assert E5Encoder(folder, prompt_kind="query_passage").meta.max_tokens == 128
    with pytest.raises(ModelFilesError, match="max_seq_length 128, the description 512"):
        E5Encoder(checkpoints("e5").meta, path=folder)


def test_cls_pooling_is_refused(folder: Path) -> None:
    rewrite(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    with pytest.raises(ModelFilesError, match="pooling_mode_cls_token"):
        E5Encoder(folder, prompt_kind="query_passage")


def test_steps_after_pooling_are_refused(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelFilesError, match="Dense"):
        E5Encoder(folder, prompt_kind="query_passage")


def test_an_adapter_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelFilesError, match="Merge it"):
        E5Encoder(folder, prompt_kind="query_passage")


def test_a_name_of_the_table_with_the_files_in_a_folder_is_checked(folder: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"is not intfloat/e5-small-v2: its files say embed_dim 48"):
        E5Encoder("e5-small-v2", path=folder)


def test_prompt_kind_does_not_overrule_the_table() -> None:
    with pytest.raises(PromptError, match="was trained with 'query_passage'"):
        E5Encoder("e5-small-v2", prompt_kind="none")


@pytest.mark.parametrize("name", ["somebody/my-e5", "https://huggingface.co/somebody/my-e5"])
def test_another_hub_id(name: str, monkeypatch: pytest.MonkeyPatch, checkpoints: Checkpoints) -> None:
    connect(monkeypatch, FakeHub(checkpoints("e5").folder, {"model.safetensors": 1000}))
    encoder = E5Encoder(name, prompt_kind="query_passage")
    assert encoder.spec.model == "somebody/my-e5"
    assert encoder.spec.revision == "2" * 40
    assert encoder.files.source == "hub"


def test_another_hub_id_is_not_guessed() -> None:
    with pytest.raises(UnknownModelError, match="say what it is"):
        E5Encoder("somebody/my-e5")


def test_fingerprint_follows_the_files_not_the_place(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "elsewhere" / "my-e5")
    first = E5Encoder(folder, prompt_kind="query_passage").spec
    assert first == E5Encoder(other, prompt_kind="query_passage").spec
    assert first.revision == hub.from_folder(folder).revision
