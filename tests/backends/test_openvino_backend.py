"""The OpenVINO back end gives the card's vectors, starts from disk without torch, and survives a damaged disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from e5studio.backends import conversion_cache
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError
from tests.checkpoints import Checkpoint
from tests.corpus import ALL_TEXTS, ORDINARY_TEXTS
from tests.test_model_card import TASK, assert_same, card_document, card_query, card_vectors

openvino_backend = pytest.importorskip("e5studio.backends.openvino")

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
        options = {"backend": "openvino", **options}
        loaded.append(E5Encoder(checkpoint.meta, path=checkpoint.folder, device="cpu", **options))
        return loaded[-1]

    yield over
    for encoder in loaded:
        encoder.close()


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
    np.testing.assert_allclose(together, alone, atol=3e-6)


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
    start = "import sys, numpy as np\nfrom e5studio import E5Encoder\n"
    start += 'def load(): return E5Encoder(sys.argv[1], prompt_kind="query_passage", backend="openvino")\n'
    command = [sys.executable, "-W", "error", "-c", start + code, str(checkpoint.folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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


def test_a_start_from_disk_needs_no_torch(checkpoints, load, cache):
    code = "row = load().encode_query('summit define')\nprint('torch' in sys.modules, row[:4].tolist())"
    [first] = run(code, checkpoints("e5"))
    [second] = run(code, checkpoints("e5"))
    assert first.startswith("True")
    assert second == first.replace("True", "False")


def test_nothing_is_sent_to_anybody(checkpoints):
    code = "load()\nprint([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    assert run(code, checkpoints("e5")) == ["[]"]


def test_two_processes_may_convert_at_once(checkpoints, cache):
    rows = run("print(load().encode_query('summit define')[:4].tolist())", checkpoints("e5"), n=3)
    assert len(set(rows)) == 1
    [kept] = (cache / "openvino").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["model.bin", "model.xml"]


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_lost_file_is_made_again(checkpoints, load, cache, name):
    expected = load(checkpoints("e5")).encode_query(ORDINARY_TEXTS)
    [kept] = (cache / "openvino").iterdir()
    (kept / name).unlink()
    assert np.array_equal(load(checkpoints("e5")).encode_query(ORDINARY_TEXTS), expected)
    assert sorted(path.name for path in kept.iterdir()) == ["model.bin", "model.xml"]


def test_what_killed_conversions_left_is_removed(checkpoints, load, cache):
    old, new = (cache / "openvino" / f".making-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    load(checkpoints("e5"))
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_damaged_file_is_made_again(checkpoints, load, cache, name):
    expected = load(checkpoints("e5")).encode_query(ORDINARY_TEXTS)
    [kept] = (cache / "openvino").iterdir()
    path = kept / name
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    assert np.array_equal(load(checkpoints("e5")).encode_query(ORDINARY_TEXTS), expected)
    assert path.stat().st_size == len(whole)


def test_a_place_that_cannot_be_written_costs_time_only(checkpoints, load, cache):
    cache.write_text("a file where a folder is due")
    assert load(checkpoints("e5")).encode_query("summit define").shape == (48,)
    assert conversion_cache.cache_folder() == cache


def test_another_revision_is_another_model(checkpoints, load, cache, tmp_path):
    for name in ("e5", "multilingual-e5"):
        load(checkpoints(name))
    assert len(list((cache / "openvino").iterdir())) == 2


def test_bfloat16_where_the_chip_has_it(checkpoints, load):
    if not openvino_backend.has_bfloat16():
        with pytest.raises(BackendError, match="float32"):
            load(checkpoints("e5"), dtype="bfloat16")
        return
    exact = load(checkpoints("e5")).encode_query(ORDINARY_TEXTS)
    rounded = load(checkpoints("e5"), dtype="bfloat16").encode_query(ORDINARY_TEXTS)
    assert (exact * rounded).sum(axis=1).min() > 0.99
    assert not np.allclose(exact, rounded, atol=1e-5)


def test_bfloat16_is_refused_where_it_would_be_slow(checkpoints, load, monkeypatch):
    monkeypatch.setattr(openvino_backend, "has_bfloat16", lambda: False)
    with pytest.raises(BackendError, match="no bfloat16 of its own"):
        load(checkpoints("e5"), dtype="bfloat16")


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"dtype": "float64"}])
def test_an_unknown_precision_is_refused(checkpoints, load, options):
    with pytest.raises(BackendError, match="computes in float32, bfloat16, int8, not in"):
        load(checkpoints("e5"), **options)


def test_another_device_is_refused(checkpoints):
    with pytest.raises(BackendError, match="on the CPU, not on 'cuda'"):
        E5Encoder(checkpoints("e5").meta, path=checkpoints("e5").folder, backend="openvino", device="cuda")


def test_vectors_of_two_back_ends_are_kept_apart(checkpoints, load, encoders):
    assert load(checkpoints("e5")).spec.fingerprint != encoders("e5").spec.fingerprint


def test_a_closed_model_says_so(checkpoints, load):
    encoder = load(checkpoints("e5"))
    encoder.close()
    with pytest.raises(BackendError, match="closed"):
        encoder.encode_query("a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_while_a_model_is_made_loads_and_embeds(checkpoints):
    code = """
import os, threading, e5studio.backends.openvino_conversion
from e5studio.backends import openvino
convert, has_begun = openvino._convert, threading.Event()
def convert_slowly(*given):
    has_begun.set()
    return convert(*given)
openvino._convert = convert_slowly
loading = threading.Thread(target=load)
loading.start()
has_begun.wait()
pid = os.fork()
if pid == 0:
    assert load().encode_query("a").shape == (48,)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
loading.join()
"""
    assert run(code, checkpoints("e5")) == ["0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_embeds(checkpoints):
    code = """
import os, threading
encoder = load()
texts = [f"text {i} " + "summit define " * (i % 50) for i in range(96)]
expected = encoder.encode_document(texts)
pid = os.fork()
if pid == 0:
    os._exit(0 if np.abs(encoder.encode_document(texts) - expected).max() < 1e-5 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run(code, checkpoints("e5")) == ["0"]
