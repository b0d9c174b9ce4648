"""A folder that says how it is used has the vectors of sentence-transformers, or is refused by file and field.

Each folder is saved by the installed sentence-transformers and loaded by it again, so it is the authority for what a
field does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import normalizers

from e5studio.encoder import E5Encoder
from e5studio.errors import ModelFilesError, TruncationWarning
from e5studio.models import PromptKind
from tests.checkpoints import Checkpoint, CheckpointName

sentence_transformers = pytest.importorskip("sentence_transformers")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings(f"ignore::{TruncationWarning.__module__}.{TruncationWarning.__name__}"),
]

Checkpoints = Callable[[CheckpointName], Checkpoint]
TEXTS = ["The Summit of a Mountain", "how much protein", "summit " * 30 + "protein " * 40]
E5_PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.fixture(scope="module")
def saved(checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small English E5 as the installed sentence-transformers saves it."""
    folder = tmp_path_factory.mktemp("saved") / "my-e5"
    load(checkpoints("e5").folder).save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of `saved` that may be changed."""
    return shutil.copytree(saved, tmp_path / "my-e5")


def load(folder: Path) -> Any:
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def rewrite(path: Path, **changes: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | changes))


def assert_same(folder: Path, kind: PromptKind = "query_passage") -> None:
    """Queries, documents and bare texts have the vectors of sentence-transformers."""
    theirs, own = load(folder), E5Encoder(folder, prompt_kind=kind, device="cpu")
    pairs = [
        (theirs.encode(TEXTS, prompt="", normalize_embeddings=True), own.encode(TEXTS, prompt="")),
        (theirs.encode(TEXTS, prompt="query: ", normalize_embeddings=True), own.encode(TEXTS, prompt="query: ")),
    ]
    if any(theirs.prompts.values()) or kind == "none":
        pairs.append((theirs.encode_query(TEXTS, normalize_embeddings=True), own.encode_query(TEXTS)))
        pairs.append((theirs.encode_document(TEXTS, normalize_embeddings=True), own.encode_document(TEXTS)))
    for expected, vectors in pairs:
        np.testing.assert_allclose(vectors, expected, atol=3e-6)


def assert_refused(folder: Path, file: str, field: str, kind: PromptKind = "query_passage") -> None:
    with pytest.raises(ModelFilesError) as caught:
        E5Encoder(folder, prompt_kind=kind)
    assert f"{folder / file} says " in str(caught.value)
    assert field in str(caught.value)


def test_as_it_is_saved(folder: Path) -> None:
    assert_same(folder)


@pytest.mark.parametrize("name", ["multilingual-e5", "multilingual-e5-small"])
def test_multilingual(
    name: CheckpointName, checkpoints: Callable[[CheckpointName], Checkpoint], tmp_path: Path
) -> None:
    load(checkpoints(name).folder).save_pretrained(str(tmp_path / "my-e5"), create_model_card=False)
    assert_same(tmp_path / "my-e5")


class TestLength:
    @pytest.mark.parametrize("length", [12, 64])
    def test_as_it_is_saved(self, length: int, saved: Path, tmp_path: Path) -> None:
        model = load(saved)
        model.max_seq_length = length
        model.save_pretrained(str(tmp_path / "my-e5"), create_model_card=False)
        assert E5Encoder(tmp_path / "my-e5", prompt_kind="none").meta.max_tokens == length
        assert_same(tmp_path / "my-e5")

    @pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
    def test_in_the_settings_of_every_name(self, name: str, folder: Path) -> None:
        (folder / "sentence_bert_config.json").unlink()
        rewrite(folder / f"sentence_{name}_config.json", max_seq_length=24, do_lower_case=False)
        assert E5Encoder(folder, prompt_kind="none").meta.max_tokens == 24
        assert_same(folder)

    def test_in_two_places(self, folder: Path) -> None:
        rewrite(folder / "tokenizer_config.json", model_max_length=40)
        rewrite(folder / "sentence_bert_config.json", max_seq_length=30)
        rewrite(folder / "sentence_xlnet_config.json", max_seq_length=20)
        assert_same(folder)
        (folder / "sentence_bert_config.json").write_text("{}")
        assert_same(folder)

    @pytest.mark.parametrize("stated", [10**30, None])
    def test_nowhere(self, stated: int | None, folder: Path) -> None:
        rewrite(folder / "tokenizer_config.json", model_max_length=stated)
        assert E5Encoder(folder, prompt_kind="none").meta.max_tokens == 512


class TestPrompts:
    def test_of_e5(self, folder: Path) -> None:
        rewrite(folder / "config_sentence_transformers.json", prompts=E5_PROMPTS)
        assert_same(folder)
        assert E5Encoder(folder).meta.prompt_kind == "query_passage"

    def test_empty_ones_state_nothing(self, folder: Path) -> None:
        rewrite(folder / "config_sentence_transformers.json", prompts={"query": "", "document": ""})
        assert_same(folder, "none")
        assert E5Encoder(folder, prompt_kind="query_passage").encode_query("summit").shape == (48,)

    def test_under_the_name_passage(self, folder: Path) -> None:
        prompts = {"query": "query: ", "passage": "passage: ", "document": ""}
        rewrite(folder / "config_sentence_transformers.json", prompts=prompts)
        theirs = load(folder).encode(TEXTS, prompt_name="passage", normalize_embeddings=True)
        np.testing.assert_allclose(E5Encoder(folder).encode(TEXTS, prompt_name="passage"), theirs, atol=3e-6)

    @pytest.mark.parametrize(
        ("kind", "prompts"),
        [
            ("none", E5_PROMPTS),
            ("instruct", E5_PROMPTS),
            ("query_passage", {"query": "search_query: ", "document": "search_document: "}),
            ("query_passage", {"query": "query:", "document": "passage:"}),
            ("query_passage", {"query": "query: "}),
            ("query_passage", {"query": "query: ", "document": "query: "}),
            ("query_passage", {**E5_PROMPTS, "clustering": "cluster: "}),
            ("none", {"clustering": "cluster: "}),
            ("instruct", {"query": "Instruct: Find duplicates\nQuery: "}),
        ],
    )
    def test_others_are_refused(self, kind: PromptKind, prompts: dict[str, str], folder: Path) -> None:
        rewrite(folder / "config_sentence_transformers.json", prompts=prompts)
        assert_refused(folder, "config_sentence_transformers.json", "prompts", kind)

    @pytest.mark.parametrize("default", ["p", "nobody"])
    def test_a_default_is_refused(self, default: str, folder: Path) -> None:
        settings: dict[str, Any] = {"prompts": {"p": "Represent: "}, "default_prompt_name": default}
        rewrite(folder / "config_sentence_transformers.json", **settings)
        assert_refused(folder, "config_sentence_transformers.json", "default_prompt_name", "none")

    def test_a_default_that_e5_has(self, folder: Path) -> None:
        settings: dict[str, Any] = {"prompts": E5_PROMPTS, "default_prompt_name": "query"}
        rewrite(folder / "config_sentence_transformers.json", **settings)
        assert_same(folder)

    def test_the_advice_works(self, folder: Path) -> None:
        path = folder / "config_sentence_transformers.json"
        rewrite(path, prompts=E5_PROMPTS)
        with pytest.raises(ModelFilesError, match="Take prompt_kind='query_passage'"):
            E5Encoder(folder, prompt_kind="none")
        rewrite(path, prompts={"query": "search_query: "}, default_prompt_name="query")
        with pytest.raises(ModelFilesError, match=r"empty prompts and default_prompt_name, take prompt_kind='none'"):
            E5Encoder(folder, prompt_kind="none")
        theirs = load(folder).encode(TEXTS, normalize_embeddings=True)
        rewrite(path, prompts={}, default_prompt_name=None)
        own = E5Encoder(folder, prompt_kind="none").encode(TEXTS, prompt="search_query: ")
        np.testing.assert_allclose(own, theirs, atol=3e-6)


TRANSFORMER, POOLING, MODEL, NORMALIZE, TOKENIZER = (
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "2_Normalize/config.json",
    "tokenizer_config.json",
)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (POOLING, {"include_prompt": False}),
        (POOLING, {"include_prompt": None}),
        (POOLING, {"pooling_mode": "cls"}),
        (POOLING, {"pooling_mode": ["mean", "max"]}),
        (POOLING, {"pooling_mode": "weightedmean"}),
        (POOLING, {"pooling_mode": 3}),
        (POOLING, {"of_a_later_release": 0.5}),
        (TRANSFORMER, {"transformer_task": "fill-mask"}),
        (TRANSFORMER, {"query_length": 8}),
        (TRANSFORMER, {"query_expansion": {"length": 32}}),
        (TRANSFORMER, {"processing_kwargs": {"text": {"max_length": 8}}}),
        (TRANSFORMER, {"processor_kwargs": {"truncation_side": "left"}}),
        (TRANSFORMER, {"tokenizer_args": {"model_max_length": 8}}),
        (TRANSFORMER, {"model_kwargs": {"torch_dtype": "float16"}}),
        (TRANSFORMER, {"module_output_name": "sentence_embedding"}),
        (TRANSFORMER, {"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}}),
        (TRANSFORMER, {"of_a_later_release": 3}),
        (TRANSFORMER, {"max_seq_length": "64"}),
        (MODEL, {"truncate_dim": 16}),
        (MODEL, {"model_type": "SparseEncoder"}),
        (MODEL, {"of_a_later_release": "x"}),
        (MODEL, {"prompts": ["query: "]}),
        (NORMALIZE, {"module_input_name": "token_embeddings"}),
        (NORMALIZE, {"module_output_name": "elsewhere"}),
        (TOKENIZER, {"truncation_side": "left"}),
        (TOKENIZER, {"padding_side": "left"}),
        (TOKENIZER, {"do_lower_case": False}),
        (TOKENIZER, {"strip_accents": False}),
        (TOKENIZER, {"tokenize_chinese_chars": False}),
        (TOKENIZER, {"split_special_tokens": True}),
        (TOKENIZER, {"extra_special_tokens": ["mountain"]}),
        (TOKENIZER, {"additional_special_tokens": ["<new>"]}),
        (TOKENIZER, {"cls_token": "[MASK]"}),
        (TOKENIZER, {"model_max_length": -5}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_what_would_change_a_vector_is_refused(file: str, changes: dict[str, Any], folder: Path) -> None:
    rewrite(folder / file, **changes)
    assert_refused(folder, file, next(iter(changes)))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (POOLING, {"word_embedding_dimension": 48}),
        (TRANSFORMER, {"do_lower_case": True}),
        (TRANSFORMER, {"unpad_inputs": False, "query_length": None, "processing_kwargs": {}}),
        (MODEL, {"truncate_dim": None, "similarity_fn_name": "dot"}),
        (NORMALIZE, {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}),
        (TOKENIZER, {"truncation_side": "right", "padding_side": "right", "do_lower_case": True}),
        (TOKENIZER, {"extra_special_tokens": ["[MASK]"]}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_what_changes_none_is_loaded(file: str, changes: dict[str, Any], folder: Path) -> None:
    rewrite(folder / file, **changes)
    assert_same(folder)


@pytest.mark.parametrize("active", ["pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_lasttoken"])
def test_pooling_in_the_old_spelling(active: str, folder: Path) -> None:
    flags = dict.fromkeys(("pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_lasttoken"), False)
    (folder / POOLING).write_text(json.dumps({"word_embedding_dimension": 48, **flags, active: True}))
    if active == "pooling_mode_cls_token":
        assert_refused(folder, POOLING, active)
    else:
        assert_same(folder)


def test_the_new_spelling_wins(folder: Path) -> None:
    rewrite(folder / POOLING, pooling_mode="lasttoken", pooling_mode_mean_tokens=True)
    assert_same(folder)


def change_tokenizer(folder: Path, change: Callable[[tokenizers.Tokenizer], Any]) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    change(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))


def test_truncation_that_only_tokenizer_json_states(folder: Path) -> None:
    change_tokenizer(folder, lambda tokenizer: tokenizer.enable_truncation(16, direction="left"))
    assert_refused(folder, "tokenizer.json", "truncation_side")
    change_tokenizer(folder, lambda tokenizer: tokenizer.enable_truncation(16, direction="right"))
    change_tokenizer(folder, lambda tokenizer: tokenizer.enable_padding(length=20))
    assert_same(folder)


def test_small_letters_that_only_the_settings_state(folder: Path) -> None:
    normalizer = normalizers.BertNormalizer(lowercase=False)
    change_tokenizer(folder, lambda tokenizer: setattr(tokenizer, "normalizer", normalizer))
    rewrite(folder / TOKENIZER, do_lower_case=False)
    assert_same(folder)
    rewrite(folder / TRANSFORMER, do_lower_case=True)
    assert_refused(folder, TRANSFORMER, "do_lower_case")


class TestModules:
    @pytest.fixture
    def modules(self, folder: Path) -> list[dict[str, Any]]:
        """The steps of the folder, to be changed."""
        modules: list[dict[str, Any]] = json.loads((folder / "modules.json").read_text())
        return modules

    def write(self, folder: Path, modules: list[dict[str, Any]]) -> None:
        (folder / "modules.json").write_text(json.dumps(modules))

    def test_of_every_release(self, modules: list[dict[str, Any]], folder: Path) -> None:
        for module in modules:
            module["type"] = f"sentence_transformers.models.{module['type'].split('.')[-1]}"
        self.write(folder, modules)
        assert_same(folder)
        self.write(folder, modules[:2])  # without Normalize: of another length only
        assert_same(folder)

    def test_another_order_is_refused(self, modules: list[dict[str, Any]], folder: Path) -> None:
        self.write(folder, [modules[0], modules[2], modules[1]])
        assert_refused(folder, "modules.json", "Transformer, Normalize, Pooling")
        self.write(folder, modules[:1])
        assert_refused(folder, "modules.json", "Transformer")

    def test_another_step_is_refused(self, saved: Path, tmp_path: Path) -> None:
        model = load(saved)
        model.append(sentence_transformers.models.Dense(48, 16))
        model.save_pretrained(str(tmp_path / "my-e5"), create_model_card=False)
        with pytest.raises(ModelFilesError, match=r"modules\.json names the module .*Dense"):
            E5Encoder(tmp_path / "my-e5", prompt_kind="none")

    def test_the_transformer_in_a_folder_of_its_own(self, modules: list[dict[str, Any]], folder: Path) -> None:
        inner = folder / "0_Transformer"
        inner.mkdir()
        for path in [path for path in folder.iterdir() if path.is_file() and path.name != "modules.json"]:
            shutil.move(path, inner / path.name)
        modules[0]["path"] = "0_Transformer"
        self.write(folder, modules)
        assert_refused(folder, "modules.json", "path '0_Transformer'")
        for path in list(inner.iterdir()):  # as the advice says
            shutil.move(path, folder / path.name)
        modules[0]["path"] = ""
        self.write(folder, modules)
        assert_same(folder)
