"""The ONNX Runtime back end gives the card's vectors from any graph, its own or published, and starts without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from e5studio.backends import conversion_cache, onnx_files
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError, MissingDependencyError, ModelFilesError
from tests.checkpoints import Checkpoint
from tests.corpus import ALL_TEXTS, ORDINARY_TEXTS
from tests.test_model_card import TASK, assert_same, card_document, card_query, card_vectors

pytest.importorskip("onnx")
onnx_graph = pytest.importorskip("e5studio.backends.onnx_graph")

TEXTS = [text for text in ALL_TEXTS if text.strip()]
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")

NewEncoder = Callable[..., E5Encoder]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for converted models."""
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def load() -> Iterator[NewEncoder]:
    loaded = []

    def over(checkpoint: Checkpoint, **options: object) -> E5Encoder:
        options = {"backend": "onnx", **options}
        loaded.append(E5Encoder(checkpoint.meta, path=checkpoint.folder, device="cpu", **options))
        return loaded[-1]

    yield over
    for encoder in loaded:
        encoder.close()


class BareModel(torch.nn.Module):
    """A model without pooling, as published graphs have it, which take their inputs in this order."""

    def __init__(self, folder: Path, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = transformers.AutoModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
        ).eval()
        self.inputs = inputs

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.inputs, given, strict=True))).last_hidden_state


def publish(
    checkpoint: Checkpoint,
    root: Path,
    *,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    output: str = "last_hidden_state",
    sizes: dict[int, str] | None = None,
    name: str = "model.onnx",
) -> Checkpoint:
    """A repository with the checkpoint's files and a graph of its own."""
    folder = root / "repository"
    shutil.copytree(checkpoint.folder, folder)
    (folder / "onnx").mkdir()
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, checkpoint.pads_with, checkpoint.pads_with]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    first = checkpoint.pads_with + 1 if checkpoint.meta.model_type == "xlm-roberta" else 0
    values = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(ids),
        "position_ids": torch.where(mask == 1, torch.arange(first, first + 4), max(first - 1, 0)),
    }
    sizes = {0: "batch_size", 1: "sequence_length"} if sizes is None else sizes
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            BareModel(checkpoint.folder, inputs).eval(),
            tuple(values[name] for name in inputs),
            str(folder / "onnx" / name),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=dict.fromkeys([*inputs, output], sizes),
            opset_version=14,
            dynamo=False,
        )
    return replace(checkpoint, folder=folder)


def quantised(published: Checkpoint, name: str) -> Checkpoint:
    """The repository with its graph in int8, under another name, instead."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    graph = published.folder / "onnx" / "model.onnx"
    model = onnx.load(graph)
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    graph.unlink()
    quantize_dynamic(model, graph.with_name(name), per_channel=True)
    return published


def test_vectors_are_the_card_s(checkpoint, reference, load):
    encoder = load(checkpoint)
    task = TASK if checkpoint.meta.prompt_kind == "instruct" else None
    queries = [card_query(checkpoint, text, TASK) for text in ORDINARY_TEXTS]
    assert_same(encoder.encode_query(ORDINARY_TEXTS, instruction=task), card_vectors(checkpoint, reference, queries))
    documents = [card_document(checkpoint, text) for text in ORDINARY_TEXTS]
    assert_same(encoder.encode_document(ORDINARY_TEXTS), card_vectors(checkpoint, reference, documents))


def test_vectors_are_those_of_torch_whatever_the_text(checkpoint, encoder, load):
    ours = load(checkpoint)
    np.testing.assert_allclose(ours.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=3e-6)
    mine, theirs = (each.token_embeddings("summit define it", prompt="") for each in (ours, encoder))
    np.testing.assert_allclose(mine.vectors, theirs.vectors, atol=3e-5)


def test_neighbours_do_not_matter(checkpoint, load):
    encoder = load(checkpoint)
    together = encoder.encode_document(TEXTS)
    alone = np.stack([encoder.encode_document(text) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_neighbours_do_not_matter_to_int8(checkpoint, load):
    encoder = load(checkpoint, dtype="int8")
    together = encoder.encode_document(TEXTS)
    assert np.array_equal(together, np.stack([encoder.encode_document(text) for text in TEXTS]))
    assert np.array_equal(together, encoder.with_options(token_budget=100_000).encode_document(TEXTS))


def test_int8_is_near_and_named(checkpoint, encoder, load):
    near = load(checkpoint, dtype="int8")
    cosines = (near.encode_document(TEXTS) * encoder.encode_document(TEXTS)).sum(axis=1)
    assert 0.95 < cosines.min() < 0.9999
    assert near.spec.dtype == "int8"
    assert near._backend.n_bytes < load(checkpoint)._backend.n_bytes * 0.6


def test_int8_of_the_real_model(offline_folder, offline_encoder):
    with E5Encoder(offline_encoder.meta, path=offline_folder, backend="onnx", dtype="int8") as near:
        cosines = (near.encode(TEXTS, prompt="") * offline_encoder.encode(TEXTS, prompt="")).sum(axis=1)
    assert cosines.min() > 0.97


def test_threads_share_one_model(checkpoints, load):
    encoder = load(checkpoints("e5"))
    expected = {text: encoder.encode_query(text) for text in ORDINARY_TEXTS}
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(encoder.encode_query, list(ORDINARY_TEXTS) * 40))
    wrong = [
        text for text, row in zip(list(ORDINARY_TEXTS) * 40, found, strict=True) if not (row == expected[text]).all()
    ]
    assert not wrong


def run(code: str, checkpoint: Checkpoint, *, n: int = 1) -> list[str]:
    """Run the same code in `n` new processes at once; what each printed."""
    start = "import os, sys, numpy as np\nfrom e5studio import E5Encoder\n"
    start += (
        'def load(**options): return E5Encoder(sys.argv[1], prompt_kind="query_passage", backend="onnx", **options)\n'
    )
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", start + code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TOKENIZERS_PARALLELISM", None)
    running = [
        subprocess.Popen(
            [*command, str(checkpoint.folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(n)
    ]
    try:
        told = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * n, told
    assert not any(errors for _, errors in told), told
    return [output.strip() for output, _ in told]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_start_from_disk_needs_no_torch(checkpoints, dtype):
    code = f"row = load(dtype='{dtype}').encode_query('summit define')\n"
    code += "print('torch' in sys.modules, 'onnx' in sys.modules, row[:4].tolist())"
    [first] = run(code, checkpoints("e5"))
    [second] = run(code, checkpoints("e5"))
    assert first.startswith("True True")
    assert second == first.replace("True", "False")


def test_a_published_graph_needs_neither_torch_nor_onnx(checkpoints, tmp_path):
    code = "load().encode_query('summit define')\nprint({'torch', 'transformers', 'onnx'} & {*sys.modules})"
    assert run(code, publish(checkpoints("e5"), tmp_path)) == ["set()"]


def test_nothing_is_sent_to_anybody(checkpoints):
    code = "load()\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(code, checkpoints("e5")) == ["1"]


def test_two_processes_may_convert_at_once(checkpoints, cache):
    rows = run("print(load().encode_query('summit define')[:4].tolist())", checkpoints("e5"), n=3)
    assert len(set(rows)) == 1
    [kept] = (cache / "onnx").iterdir()
    assert [path.name for path in kept.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_damaged_file_is_made_again(checkpoints, load, cache, dtype):
    expected = load(checkpoints("e5"), dtype=dtype).encode_query(ORDINARY_TEXTS)
    [path] = (cache / "onnx").rglob("model.onnx")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    assert np.array_equal(load(checkpoints("e5"), dtype=dtype).encode_query(ORDINARY_TEXTS), expected)
    assert path.stat().st_size == len(whole)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_place_that_cannot_be_written_costs_time_only(checkpoints, load, cache, dtype):
    cache.write_text("a file where a folder is due")
    assert load(checkpoints("e5"), dtype=dtype).encode_query("summit define").shape == (48,)
    assert conversion_cache.cache_folder() == cache


def test_what_is_kept_is_told_apart(checkpoints, load, cache, monkeypatch):
    load(checkpoints("e5"))
    load(checkpoints("multilingual-e5"))
    assert len(list((cache / "onnx").iterdir())) == 2
    for may_overflow in (False, True, False):
        monkeypatch.setattr(onnx_files, "may_overflow", lambda may_overflow=may_overflow: may_overflow)
        load(checkpoints("e5"), dtype="int8")
    assert len(list((cache / "onnx").iterdir())) == 4


def test_a_package_that_only_conversion_needs(checkpoints, load, monkeypatch):
    monkeypatch.delitem(sys.modules, "e5studio.backends.onnx_conversion", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install onnx$"):
        load(checkpoints("e5"))


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("e5", ("input_ids", "attention_mask")),
        ("e5", ("input_ids", "attention_mask", "token_type_ids")),
        ("e5", ("attention_mask", "token_type_ids", "position_ids", "input_ids")),
        ("multilingual-e5", ("input_ids", "attention_mask")),
        ("multilingual-e5", ("input_ids", "attention_mask", "position_ids")),
        ("multilingual-e5-small", ("input_ids", "attention_mask", "token_type_ids")),
        ("multilingual-e5-instruct", ("input_ids", "attention_mask")),  # whose weights are stored in float16
    ],
)
@pytest.mark.parametrize("output", ["last_hidden_state", "token_embeddings"])
def test_published_graphs_are_read(checkpoints, encoders, load, cache, tmp_path, name, inputs, output):
    published = load(publish(checkpoints(name), tmp_path, inputs=inputs, output=output))
    theirs = encoders(name)
    np.testing.assert_allclose(published.encode_document(TEXTS), theirs.encode_document(TEXTS), atol=3e-6)
    alone = np.stack([published.encode_document(text) for text in TEXTS])
    np.testing.assert_allclose(published.encode_document(TEXTS), alone, atol=1e-6)
    found, expected = (each.token_embeddings("summit define it", prompt="") for each in (published, theirs))
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=3e-5)
    assert not cache.exists()


def test_the_last_token_of_a_published_graph():
    tokens = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = onnx_graph._pool(tokens, np.array([[1, 1, 1], [1, 1, 0]]), "last_token")
    assert found.tolist() == [tokens[0, 2].tolist(), tokens[1, 1].tolist()]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"output": "pooler_output"}, "no vectors of tokens"),
        ({"sizes": {}}, "made for two rows of four tokens"),
        ({"name": "model_O4.onnx"}, "float16 in places"),
    ],
)
def test_a_graph_that_does_not_serve_is_left(checkpoints, encoders, load, cache, tmp_path, options, reason):
    found = load(publish(checkpoints("e5"), tmp_path, **options)).encode_document(ORDINARY_TEXTS)
    np.testing.assert_allclose(found, encoders("e5").encode_document(ORDINARY_TEXTS), atol=3e-6, err_msg=reason)
    assert (cache / "onnx").is_dir()


@pytest.mark.parametrize(
    "moved", ["output.LayerNorm.weight", "attention.self.value.weight", "attention.self.key.weight"]
)
def test_a_graph_of_other_weights_is_left(checkpoints, load, tmp_path, moved):
    published = publish(checkpoints("e5"), tmp_path)
    path = published.folder / "model.safetensors"
    weights = safetensors.numpy.load_file(path)
    [name] = [name for name in weights if name.endswith(f"layer.2.{moved}")]
    weights[name] = weights[name] * np.float32(1.5)
    safetensors.numpy.save_file(weights, path, metadata={"format": "pt"})
    with E5Encoder(published.meta, path=published.folder, device="cpu") as trained:
        expected = trained.encode_document(ORDINARY_TEXTS)
    np.testing.assert_allclose(load(published).encode_document(ORDINARY_TEXTS), expected, atol=3e-6)


def test_a_published_graph_that_is_damaged(checkpoints, load, tmp_path):
    published = publish(checkpoints("e5"), tmp_path)
    path = published.folder / "onnx" / "model.onnx"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"version https://git-lfs.github.com/spec/v1\n", b""):
        path.write_bytes(content)
        with pytest.raises(ModelFilesError, match=r"model\.onnx is damaged.* Fetch it again"):
            load(published)


def test_a_quantised_graph_is_no_float32(checkpoints, encoders, load, tmp_path):
    published = quantised(publish(checkpoints("e5"), tmp_path), "model.onnx")
    found = load(published).encode_document(ORDINARY_TEXTS)
    np.testing.assert_allclose(found, encoders("e5").encode_document(ORDINARY_TEXTS), atol=3e-6)


def test_another_device_is_refused(checkpoints):
    with pytest.raises(BackendError, match="on the CPU, not on 'cuda'"):
        E5Encoder(checkpoints("e5").meta, path=checkpoints("e5").folder, backend="onnx", device="cuda")


def test_vectors_of_two_back_ends_are_kept_apart(checkpoints, load, encoders):
    assert load(checkpoints("e5")).spec.fingerprint != encoders("e5").spec.fingerprint


def test_a_closed_model_says_so(checkpoints, load):
    encoder = load(checkpoints("e5"))
    encoder.close()
    with pytest.raises(BackendError, match="closed"):
        encoder.encode_query("a")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_precisions_of_other_back_ends_are_refused(checkpoints, load, dtype):
    with pytest.raises(BackendError, match="computes in float32, int8, not in"):
        load(checkpoints("e5"), dtype=dtype)


FORK = """
import gc, threading
encoder = load()
texts = [f"text {i} " + "summit define " * (i % 50) for i in range(96)]
expected = encoder.encode_document(texts)
threading.Thread(target=lambda: [encoder.encode_document(texts) for _ in range(20)]).start()
"""
CHILDREN = {
    "embeds": "assert np.abs(encoder.encode_document(texts) - expected).max() < 1e-6",
    "embeds in int8": "assert load(dtype='int8').encode_document(texts).shape == expected.shape",
    "closes it": "encoder.close()",
    "drops it": "del encoder; gc.collect()",
    "does nothing": "pass",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("what", CHILDREN)
def test_a_forked_process(checkpoints, what):
    # The child ends as any program does, which waits for nothing that stayed in the parent.
    code = (
        FORK
        + f"""
pid = os.fork()
if pid == 0:
    {CHILDREN[what]}
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    )
    assert run(code, checkpoints("e5")) == ["0"]
