"""Both converted backends give the card's vectors, start from disk without torch, and survive a damaged disk."""

from __future__ import annotations

import ast
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from e5studio import file_lock
from e5studio.backends import conversion_cache
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError
from tests.backends.conftest import run
from tests.corpus import ALL_TEXTS, ORDINARY_TEXTS
from tests.test_model_card import TASK, assert_same, card_document, card_query, card_vectors

pytest.importorskip("openvino")
pytest.importorskip("onnx")
traced_once = pytest.importorskip("tests.backends.conversions").traced_once

TEXTS = [text for text in ALL_TEXTS if text.strip()]
ATOL = {"openvino": 3e-6, "onnx": 1e-6}
PRECISIONS = {"openvino": ["float32", "bfloat16", "int8"], "onnx": ["float32", "int8"]}

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")


@pytest.fixture(scope="module", autouse=True)
def _traced_once():
    with traced_once():
        yield


@pytest.fixture(params=PRECISIONS)
def backend(request):
    return request.param


@pytest.fixture
def ours(checkpoint, backend, converted):
    """The encoder of each architecture in turn over the backend."""
    return converted(checkpoint, backend)


def test_vectors_are_the_card_s(checkpoint, reference, ours):
    task = TASK if checkpoint.meta.prompt_kind == "instruct" else None
    queries = [card_query(checkpoint, text, TASK) for text in ORDINARY_TEXTS]
    assert_same(ours.encode_query(ORDINARY_TEXTS, instruction=task), card_vectors(checkpoint, reference, queries))
    documents = [card_document(checkpoint, text) for text in ORDINARY_TEXTS]
    assert_same(ours.encode_document(ORDINARY_TEXTS), card_vectors(checkpoint, reference, documents))


def test_vectors_are_those_of_torch_whatever_the_text(encoder, ours):
    np.testing.assert_allclose(ours.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=3e-6)
    mine, theirs = (each.token_embeddings("summit define it", prompt="") for each in (ours, encoder))
    np.testing.assert_allclose(mine.vectors, theirs.vectors, atol=3e-5)


def test_neighbours_do_not_matter(backend, ours):
    together = ours.encode_document(TEXTS)
    alone = np.stack([ours.encode_document(text) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=ATOL[backend])


def test_threads_share_one_model(checkpoints, backend, converted):
    encoder = converted(checkpoints("e5"), backend)
    expected = {text: encoder.encode_query(text) for text in ORDINARY_TEXTS}
    texts = list(ORDINARY_TEXTS) * 20
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(encoder.encode_query, texts))
    assert not [text for text, row in zip(texts, rows, strict=True) if not (row == expected[text]).all()]


@pytest.fixture
def on_disk(checkpoints, cache, backend):
    """A converted model in `cache`: a new process reads it in a second, and makes one in a quarter of a minute."""
    E5Encoder(checkpoints("e5").folder, prompt_kind="query_passage", device="cpu", backend=backend).close()
    return checkpoints("e5")


def test_without_memory_it_fails_or_goes_on_in_smaller_batches(on_disk, backend):
    """OpenVINO's `infer` left the vectors of the batch before, those of another text, and raised nothing."""
    code = """
import resource
from pathlib import Path
import numpy as np
encoder = load(token_budget=1_000_000)
texts = [f"{n % 10} word " * 20 for n in range(1000)]
encoder.encode_query([f"{n}" for n in range(1000)])
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 1_000_000, resource.RLIM_INFINITY))
try:
    vectors = encoder.encode_query(texts)
except MemoryError:
    vectors = None
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
right = encoder.encode_query(texts)
print(vectors is None or bool(np.allclose(vectors, right, atol=1e-5)), vectors is None)
"""
    [printed] = run(code, on_disk, backend)
    assert printed.startswith("True")


@pytest.mark.parametrize(("backend", "dtypes"), [("openvino", ["float32"]), ("onnx", ["float32", "int8"])])
def test_a_start_from_disk_needs_no_torch(checkpoints, cache, backend, dtypes):
    folder = checkpoints("e5").folder
    rows = []
    for dtype in dtypes:
        with E5Encoder(folder, prompt_kind="query_passage", backend=backend, dtype=dtype) as encoder:
            rows.append(encoder.encode_query("summit define"))
    code = f"rows = [load(dtype=dtype, device='cpu').encode_query('summit define').tolist() for dtype in {dtypes}]\n"
    code += "print([*({'torch', 'transformers', 'onnx'} & {*sys.modules}), rows])"
    [printed] = run(code, checkpoints("e5"), "auto" if backend == "openvino" else backend)
    [again] = ast.literal_eval(printed)
    np.testing.assert_allclose(again, rows, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.long
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_two_processes_may_convert_at_once_and_send_nothing_to_anybody(checkpoints, backend, cache):
    # What a conversion imports is imported once, and the two begin on the same moment.
    imported = {"openvino": ["openvino", "openvino_encoder"], "onnx": ["onnx_conversion"]}[backend]
    code = f"""
import importlib, transformers
for name in {imported}:
    importlib.import_module("e5studio.backends." + name)
transformers.AutoModel
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        row = load().encode_query("summit define")
        telemetry = [name for name in sys.modules if name.startswith("openvino_telemetry")]
        # In one write: an unbuffered print writes the end of the line by itself, behind what the other child wrote.
        sys.stdout.write(str([row.tolist(), telemetry, os.environ.get("ORT_DISABLE_TELEMETRY")]) + "\\n")
        sys.exit(0)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
"""
    [printed] = run(code, checkpoints("e5"), backend)
    first, second = map(ast.literal_eval, printed.splitlines())
    assert first == second
    _, telemetry, is_off = first
    assert telemetry == []
    assert backend != "onnx" or is_off == "1"
    [folder] = (cache / backend).iterdir()
    files = {"openvino": ["model.bin", "model.xml"], "onnx": ["model.onnx"]}[backend] + ["sha256.json"]
    assert sorted(path.name for path in folder.iterdir()) == files


def flipped(content: bytes) -> bytes:
    offset = len(content) * 4 // 5
    return content[:offset] + bytes([content[offset] ^ 0x40]) + content[offset + 1 :]


@pytest.mark.parametrize(
    "damage", [flipped, lambda content: content[:-1], lambda content: content[:-64] + bytes(64), lambda _: b""]
)
@pytest.mark.parametrize("name", ["model.xml", "model.bin", "sha256.json"])
def test_any_damage_is_known_by_the_digest(cache, name, damage):
    folder = conversion_cache.folder_of("openvino", {})
    files = {"model.xml": b"<net/>" * 50, "model.bin": bytes(range(1, 256)) * 9}
    conversion_cache.store(folder, lambda into: [(into / name).write_bytes(files[name]) for name in files])
    assert conversion_cache.is_whole(folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert not conversion_cache.is_whole(folder)


@pytest.mark.parametrize(("backend", "dtype"), [("openvino", "float32"), ("onnx", "float32"), ("onnx", "int8")])
def test_a_damaged_or_lost_file_is_made_again(checkpoints, load, cache, backend, dtype):
    texts = ORDINARY_TEXTS[:3]
    expected = load(checkpoints("e5"), backend, dtype=dtype).encode_query(texts)
    [folder] = (cache / backend).iterdir()
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for is_lost in (False, True):
            path.unlink()
            if not is_lost:
                path.write_bytes(flipped(whole))
            rows = load(checkpoints("e5"), backend, dtype=dtype).encode_query(texts)
            assert np.array_equal(rows, expected), (path.name, is_lost)
            assert conversion_cache.is_whole(folder), (path.name, is_lost)


def test_a_whole_model_that_cannot_be_loaded_is_kept(on_disk, cache, backend):
    """Whatever a library says for want of memory, what has its digest is not damaged."""
    code = """
import resource
from pathlib import Path
from e5studio.errors import OutOfMemoryError
load().close()
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
try:
    resource.setrlimit(resource.RLIMIT_AS, (in_use, resource.RLIM_INFINITY))
    load()
except OutOfMemoryError as error:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(str(error).split(" (")[1])
"""
    [printed] = run(code, on_disk, backend)
    assert printed.startswith("the address space is limited to ")
    [folder] = (cache / backend).iterdir()
    assert conversion_cache.is_whole(folder)


def test_what_killed_conversions_left_is_removed_at_once(cache, tmp_path):
    parent = cache / "openvino"
    killed, alive = parent / ".making-killed", parent / ".making-alive"
    for folder in (killed, alive):
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(b"half")
    (parent / ".making-killed.lock").touch()
    with file_lock.held(parent / ".making-alive.lock"):
        assert conversion_cache.store(parent / "model", lambda into: (into / "model.bin").write_bytes(b"whole"))
        assert {path.name for path in parent.iterdir()} == {"model", ".making-alive", ".making-alive.lock"}
    assert conversion_cache.store(parent / "other", lambda into: (into / "model.bin").write_bytes(b"whole"))
    assert {path.name for path in parent.iterdir()} == {"model", "other"}


def test_a_second_conversion_is_discarded_and_a_damaged_one_replaced(cache):
    folder = conversion_cache.folder_of("openvino", {})

    def put(content):
        return lambda into: (into / "model.bin").write_bytes(content)

    assert conversion_cache.store(folder, put(b"first"))
    assert conversion_cache.store(folder, put(b"second"))
    assert (folder / "model.bin").read_bytes() == b"first"
    (folder / "model.bin").write_bytes(b"worst")
    assert conversion_cache.store(folder, put(b"third"))
    assert (folder / "model.bin").read_bytes() == b"third"


def test_an_engine_that_writes_nothing_is_caught(checkpoints, load, backend, monkeypatch):
    """Vectors of the batch before, those of other texts, must not pass for those of this one."""
    encoder = load(checkpoints("e5"), backend)
    encoder.encode_query("summit define")
    if backend == "onnx":
        graph = encoder._backend._graph

        class Silent:
            io_binding = graph.session.io_binding
            run_with_iobinding = staticmethod(lambda _: None)

        monkeypatch.setattr(graph, "session", Silent)
    else:
        request = encoder._backend._requests["pooled"]

        class Silent:
            set_output_tensor = request.set_output_tensor
            start_async = staticmethod(lambda *_, **__: None)
            wait = staticmethod(lambda: None)

        monkeypatch.setitem(encoder._backend._requests, "pooled", Silent)
    with pytest.raises(BackendError, match="before it had computed all vectors"):
        encoder.encode_query("protein")


@pytest.mark.parametrize(("backend", "dtype"), [("openvino", "float32"), ("onnx", "float32"), ("onnx", "int8")])
def test_a_cache_that_cannot_be_written_costs_time_only(checkpoints, load, cache, backend, dtype):
    cache.write_text("a file where a folder belongs")
    assert load(checkpoints("e5"), backend, dtype=dtype).encode_query("summit define").shape == (48,)
    assert conversion_cache.cache_folder() == cache


def test_another_model_is_stored_apart(checkpoints, load, cache, backend):
    for name in ("e5", "multilingual-e5"):
        load(checkpoints(name), backend)
    assert len(list((cache / backend).iterdir())) == 2


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_a_precision_it_does_not_have_is_refused(checkpoints, load, backend, dtype):
    if dtype in PRECISIONS[backend]:
        pytest.skip("the backend has it")
    with pytest.raises(BackendError, match=f"computes in {', '.join(PRECISIONS[backend])}, not in"):
        load(checkpoints("e5"), backend, dtype=dtype)


def test_another_device_is_refused(checkpoints, backend):
    with pytest.raises(BackendError, match="on the CPU, not on 'cuda'"):
        E5Encoder(checkpoints("e5").meta, path=checkpoints("e5").folder, backend=backend, device="cuda")


def test_vectors_of_two_backends_are_told_apart(checkpoints, converted, encoders):
    e5 = checkpoints("e5")
    encoders_of_e5 = [encoders("e5"), converted(e5, "openvino"), converted(e5, "onnx"), converted(e5, "onnx", "int8")]
    assert len({encoder.spec.fingerprint for encoder in encoders_of_e5}) == 4


def test_a_closed_model_says_so(checkpoints, load, backend):
    encoder = load(checkpoints("e5"), backend)
    encoder.close()
    with pytest.raises(BackendError, match="closed"):
        encoder.encode_query("a")
