"""Model files that are cut, damaged, dangerous or of another model: refused in one sentence that names the file."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError, ModelFilesError, NonFiniteError
from tests.checkpoints import Checkpoint, CheckpointName
from tests.test_offline_copy import flip_byte

Checkpoints = Callable[[CheckpointName], Checkpoint]
Copy = Callable[[CheckpointName], Path]

WEIGHTS = "model.safetensors"
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 133\n"
)


@pytest.fixture
def copy(tmp_path: Path, checkpoints: Checkpoints) -> Copy:
    """Gives a copy of a small checkpoint that may be damaged."""

    def make(name: CheckpointName) -> Path:
        return Path(shutil.copytree(checkpoints(name).folder, tmp_path / name))

    return make


@pytest.fixture
def folder(copy: Copy) -> Path:
    """A copy of the small English E5."""
    return copy("e5")


@pytest.fixture
def load(checkpoints: Checkpoints) -> Callable[[Path], E5Encoder]:
    """Loads a folder as what it claims to be."""
    return lambda folder: E5Encoder(checkpoints(folder.name).meta, path=folder, device="cpu")  # type: ignore[arg-type]


def refused(load: Callable[[Path], E5Encoder], folder: Path, message: str) -> None:
    """It is refused in a sentence that a person may be shown, and that says where."""
    with pytest.raises(ModelFilesError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def header_and_data(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_weights(path: Path, header: dict[str, Any], data: bytes) -> None:
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def change_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


class TestDamagedWeights:
    @pytest.mark.parametrize("kept", [0, 7, 8, 100, 0.5, -1], ids=str)
    def test_cut(self, kept: float, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(content[: len(content) // 2 if kept == 0.5 else int(kept)])
        refused(load, folder, rf"{WEIGHTS} is incomplete")

    def test_a_byte_too_many(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        with (folder / WEIGHTS).open("ab") as file:
            file.write(b"x")
        refused(load, folder, rf"{WEIGHTS} is damaged")

    def test_git_lfs_pointer(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        (folder / WEIGHTS).write_bytes(LFS_POINTER)
        refused(load, folder, "git-lfs pointer, not the weights")

    @pytest.mark.parametrize("header", [b"\xff\xfe", b"{", b"[]", b"{}", b'{"a": 1}', b"[" * 9999])
    def test_unreadable_header(self, header: bytes, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
        refused(load, folder, "its header is unreadable")

    def test_header_longer_than_any_file(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes((2**62).to_bytes(8, "little") + content[8:])
        refused(load, folder, "is incomplete")

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("dtype", "F99", "cannot be loaded"),
            ("shape", [1], "cannot be loaded"),
            ("shape", [-1], r"shape of embeddings\..* \[-1\], but it must be a list with a whole number of at least 0"),
            ("shape", ["1"], "shape of"),
            ("shape", None, "shape of"),
            ("data_offsets", 3, "data_offsets of"),
            ("data_offsets", ["0", "x"], r'data_offsets of .* \["0", "x"\], but it must be a list of 2'),
            ("data_offsets", [0, 1e999], "data_offsets of"),
        ],
    )
    def test_header_that_lies(
        self, field: str, value: Any, message: str, folder: Path, load: Callable[[Path], E5Encoder]
    ) -> None:
        header, data = header_and_data(folder / WEIGHTS)
        header["embeddings.word_embeddings.weight"][field] = value
        write_weights(folder / WEIGHTS, header, data)
        refused(load, folder, message)

    def test_a_flipped_byte_makes_another_fingerprint(
        self, folder: Path, load: Callable[[Path], E5Encoder], checkpoints: Checkpoints
    ) -> None:
        """Nothing says what a folder of one's own should hold; but vectors of both are never mixed."""
        flip_byte(folder / WEIGHTS)
        assert load(folder).spec.fingerprint != load(checkpoints("e5").folder).spec.fingerprint

    def test_weights_of_nan(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        name = "encoder.layer.0.output.dense.bias"
        change_tensors(folder / WEIGHTS, lambda tensors: tensors[name].fill_(float("nan")))
        with pytest.raises(NonFiniteError, match=r"texts at \[0, 1\]"):
            load(folder).encode_query(["a", "b"])

    def test_missing_shard(self, copy: Copy, load: Callable[[Path], E5Encoder]) -> None:
        folder = copy("e5-mistral-instruct")
        [second] = folder.glob("model-00002-*")
        second.unlink()
        refused(load, folder, f"Missing in .*{second.name}")

    def test_missing_or_damaged_index(self, copy: Copy, load: Callable[[Path], E5Encoder]) -> None:
        folder = copy("e5-mistral-instruct")
        for damage in ("{", "[" * 100_000, "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', "{}"):
            (folder / "model.safetensors.index.json").write_text(damage)
            refused(load, folder, r"index\.json (says weight_map|is damaged|is not valid JSON|holds no JSON object)")
        (folder / "model.safetensors.index.json").unlink()
        refused(load, folder, f"Missing in .*{WEIGHTS}")

    def test_index_that_leaves_the_folder(self, copy: Copy, load: Callable[[Path], E5Encoder]) -> None:
        folder = copy("e5-mistral-instruct")
        index = folder / "model.safetensors.index.json"
        weight_map = json.loads(index.read_text())["weight_map"]
        outside = folder.parent / "outside.safetensors"
        shutil.copy(folder / weight_map["norm.weight"], outside)
        rewrite(index, weight_map=weight_map | {"norm.weight": "../outside.safetensors"})
        refused(load, folder, r"\.\./outside\.safetensors")


class TestIncompleteFolder:
    @pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", WEIGHTS])
    def test_needed_file(self, missing: str, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        (folder / missing).unlink()
        refused(load, folder, f"Missing in .*: {missing}")

    @pytest.mark.parametrize(
        "missing", ["sentence_bert_config.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json"]
    )
    def test_file_that_may_be_absent(
        self, missing: str, folder: Path, load: Callable[[Path], E5Encoder], checkpoints: Checkpoints
    ) -> None:
        (folder / missing).unlink()
        expected = load(checkpoints("e5").folder)
        assert load(folder).meta.max_tokens == 512
        assert load(folder).encode_query("summit").tobytes() == expected.encode_query("summit").tobytes()

    @pytest.mark.parametrize(
        "name",
        ["config.json", "tokenizer.json", "1_Pooling/config.json", "sentence_bert_config.json", "modules.json"],
    )
    @pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'"text"'])
    def test_damaged_json(self, damage: bytes, name: str, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        (folder / name).write_bytes(damage)
        refused(load, folder, name)

    def test_damaged_tokenizer_config_of_a_last_token_model(
        self, copy: Copy, load: Callable[[Path], E5Encoder]
    ) -> None:
        folder = copy("e5-mistral-instruct")
        (folder / "tokenizer_config.json").write_text("{")
        refused(load, folder, r"tokenizer_config\.json is not valid JSON")

    def test_no_folder(self, tmp_path: Path, load: Callable[[Path], E5Encoder]) -> None:
        refused(load, tmp_path / "e5", "There is no folder")
        (tmp_path / "e5").write_text("a file")
        refused(load, tmp_path / "e5", "There is no folder")
        (tmp_path / "e5").unlink()
        (tmp_path / "e5").mkdir()
        refused(load, tmp_path / "e5", "Missing in")


class TestAnotherModel:
    @pytest.mark.parametrize("model_type", ["roberta", "t5", "distilbert", None, 3])
    def test_wrong_architecture(self, model_type: Any, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        rewrite(folder / "config.json", model_type=model_type)
        refused(load, folder, "E5 models are bert, xlm-roberta, mistral")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("hidden_size", "large"),
            ("num_hidden_layers", None),
            ("max_position_embeddings", "x"),
            ("max_position_embeddings", 1024),
            ("vocab_size", 2000),
            ("intermediate_size", 10),
            ("num_attention_heads", 5),
            ("hidden_act", "no such function"),
            ("layer_norm_eps", None),
        ],
    )
    def test_config_that_does_not_fit_the_weights(
        self, field: str, value: Any, folder: Path, load: Callable[[Path], E5Encoder]
    ) -> None:
        rewrite(folder / "config.json", **{field: value})
        refused(load, folder, "it must be a whole number from 1|refused by transformers|cannot be loaded")

    @pytest.mark.parametrize("backend", ["torch", "onnx"])
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("pad_token_id", value) for value in ([1], float("inf"), float("nan"), -1, 10**6, "1", True)),
            ("output_attentions", "x"),
            ("return_dict", 1),
            ("chunk_size_feed_forward", -1),
            ("layer_norm_eps", float("inf")),
            ("hidden_act", 3),
            ("is_decoder", True),
            ("position_embedding_type", "relative_key"),
            ("sliding_window", 2**70),
        ],
    )
    def test_value_that_would_fail_or_mislead_later(
        self, field: str, value: Any, backend: Any, folder: Path, checkpoints: Checkpoints
    ) -> None:
        rewrite(folder / "config.json", **{field: value})
        with pytest.raises(ModelFilesError, match=rf"config\.json says {field} .*, but it must be "):
            E5Encoder(checkpoints("e5").meta, path=folder, backend=backend)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("output_attentions", True),
            ("output_hidden_states", True),
            ("return_dict", False),
            ("chunk_size_feed_forward", 2),
            ("pad_token_id", None),
        ],
    )
    @pytest.mark.parametrize("name", ["e5", "multilingual-e5"])
    def test_value_that_changes_no_vector(
        self, field: str, value: Any, name: CheckpointName, copy: Copy, checkpoints: Checkpoints
    ) -> None:
        folder, meta = copy(name), checkpoints(name).meta
        rewrite(folder / "config.json", **{field: value})
        changed, whole = (E5Encoder(meta, path=path, device="cpu") for path in (folder, checkpoints(name).folder))
        np.testing.assert_array_equal(changed.encode_query(["summit", "a b"]), whole.encode_query(["summit", "a b"]))

    def test_missing_weight(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        name = "encoder.layer.1.output.dense.weight"
        change_tensors(folder / WEIGHTS, lambda tensors: tensors.pop(name))
        refused(load, folder, rf"lack 1 tensors, {name} first")

    def test_a_head(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        change_tensors(folder / WEIGHTS, lambda tensors: tensors.update({"classifier.weight": torch.zeros(2, 48)}))
        refused(load, folder, r"classifier\.weight, which no E5 model has")

    def test_the_pooler_may_be_absent(
        self, folder: Path, load: Callable[[Path], E5Encoder], checkpoints: Checkpoints
    ) -> None:
        def drop(tensors: dict[str, torch.Tensor]) -> None:
            for name in [name for name in tensors if name.startswith("pooler.") or name.endswith("position_ids")]:
                del tensors[name]

        expected = load(checkpoints("e5").folder).encode_query("summit")
        change_tensors(folder / WEIGHTS, drop)
        np.testing.assert_array_equal(load(folder).encode_query("summit"), expected)

    def test_tokenizer_of_a_larger_vocabulary(self, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        name = "embeddings.word_embeddings.weight"
        change_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: tensors[name][:1000].clone()}))
        rewrite(folder / "config.json", vocab_size=1000)
        refused(load, folder, "the model knows 1000")


class Marker:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


class TestDanger:
    @pytest.fixture
    def marker(self, tmp_path: Path) -> Path:
        """Exists only if code of the model ran."""
        return tmp_path / "code-of-the-model-ran"

    def test_pickled_weights_are_not_opened(
        self, marker: Path, folder: Path, load: Callable[[Path], E5Encoder]
    ) -> None:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marker(marker)))
        (folder / WEIGHTS).unlink()
        refused(load, folder, r"pytorch_model\.bin is there, but such files can run code")
        assert not marker.exists()

    def test_pickle_under_the_name_of_safetensors(
        self, marker: Path, folder: Path, load: Callable[[Path], E5Encoder]
    ) -> None:
        (folder / WEIGHTS).write_bytes(pickle.dumps(Marker(marker)))
        refused(load, folder, "incomplete|damaged")
        assert not marker.exists()

    @pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
    def test_code_beside_the_weights_is_not_run(
        self, file: str, marker: Path, folder: Path, load: Callable[[Path], E5Encoder]
    ) -> None:
        (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Model: pass\n")
        targets = {"AutoConfig": "evil.Model", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Model", None]}
        rewrite(folder / file, auto_map=targets)
        if file == "config.json":
            refused(load, folder, "'auto_map'")
        else:
            load(folder).encode_query("summit")  # nobody reads it there
        assert not marker.exists()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("_attn_implementation_internal", "somebody/kernel"),
            ("_attn_implementation", "somebody/kernel"),
            ("attn_implementation", "somebody/kernel:forward"),
            ("_experts_implementation", "somebody/kernel"),
            ("quantization_config", {"quant_method": "bitsandbytes"}),
            ("transformers_weights", "pytorch_model.bin"),
        ],
    )
    def test_fields_that_fetch_code(
        self, field: str, value: Any, folder: Path, load: Callable[[Path], E5Encoder]
    ) -> None:
        rewrite(folder / "config.json", **{field: value})
        refused(load, folder, f"'{field}'")

    @pytest.mark.parametrize("kind", ["os.system", "sentence_transformers.models.CLIPModel", "evil.Transformer", ""])
    def test_modules_that_are_none_of_ours(self, kind: str, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(modules))
        refused(load, folder, "names the module")

    @pytest.mark.parametrize("path", ["../../../etc", "/etc", "..", "2_Pooling", None, 3])
    def test_module_paths_are_not_followed(self, path: Any, folder: Path, load: Callable[[Path], E5Encoder]) -> None:
        """The pooling is read from 1_Pooling; elsewhere there may be another."""
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["path"] = path
        (folder / "modules.json").write_text(json.dumps(modules))
        refused(load, folder, r"modules\.json says path .* are read in 1_Pooling")


def test_a_refused_model_leaves_the_loaded_one_serving(
    folder: Path, load: Callable[[Path], E5Encoder], checkpoints: Checkpoints
) -> None:
    serving = load(checkpoints("e5").folder)
    before = serving.encode_query("summit").tobytes()
    (folder / "config.json").write_text("{")
    with pytest.raises(E5StudioError):
        load(folder)
    assert serving.encode_query("summit").tobytes() == before
