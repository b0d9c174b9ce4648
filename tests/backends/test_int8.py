"""int8 stays close to float32, depends on nothing but the text, and is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from e5studio.backends import calibration
from e5studio.encoder import E5Encoder
from e5studio.errors import MissingDependencyError
from e5studio.models import get_model_meta
from tests.corpus import ORDINARY_TEXTS
from tests.evaluation.evaluation_sets import EVALUATIONS, needs_evaluations

pytest.importorskip("openvino")
pytest.importorskip("nncf")

OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = list(ORDINARY_TEXTS) * 2 + [" ".join(ORDINARY_TEXTS) * 3]
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E5STUDIO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def int8(cache: Path) -> E5Encoder:
    return E5Encoder(OFFLINE, backend="openvino", dtype="int8", device="cpu")


def test_vectors_are_close_to_float32(int8, offline_encoder):
    exact, rounded = offline_encoder.encode(TEXTS), int8.encode(TEXTS)
    assert (exact * rounded).sum(axis=1).min() > 0.97
    assert not np.allclose(exact, rounded, atol=1e-3)
    assert int8.spec.dtype == "int8"


def test_neighbours_do_not_matter(int8):
    together = int8.encode(TEXTS)
    alone = np.stack([int8.encode(text) for text in TEXTS])
    # What is not quantised is bfloat16 on chips that have it, whose kernels round differently from shape to shape.
    assert (together * alone).sum(axis=1).min() > 0.9998


def test_it_makes_the_weights_smaller(int8, cache):
    exact = E5Encoder(OFFLINE, backend="openvino", device="cpu")
    assert int8._backend.n_bytes < 0.75 * exact._backend.n_bytes  # the embedding table stays as it is


def test_a_start_from_disk_needs_neither_torch_nor_nncf(int8, cache):
    code = f"""
import sys
from e5studio import E5Encoder
row = E5Encoder({OFFLINE!r}, backend="openvino", dtype="int8", device="cpu").encode("summit define")
print(sorted({{"torch", "nncf", "rich"}} & sys.modules.keys()), len(row))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True)
    assert (told.stdout.strip(), told.stderr) == ("[] 384", "")


def test_making_it_says_nothing(checkpoints, capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))
    made = checkpoints("e5")
    capfd.readouterr()
    encoder = E5Encoder(made.meta, path=made.folder, backend="openvino", dtype="int8", device="cpu")
    assert encoder.encode_query("a").shape == (48,)
    assert capfd.readouterr() == ("", "")


def test_without_nncf_a_sentence_says_what_to_do(checkpoints, monkeypatch, tmp_path):
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nncf", None)
    made = checkpoints("e5")
    with pytest.raises(MissingDependencyError, match=r"int8.* pip install nncf"):
        E5Encoder(made.meta, path=made.folder, backend="openvino", dtype="int8", device="cpu")


def test_calibration_speaks_the_languages_of_the_model():
    english = calibration.calibration_texts(get_model_meta("e5-small-v2"))
    every = calibration.calibration_texts(get_model_meta("multilingual-e5-small"))
    assert len(english) == 121
    assert set(english[:-1]) < set(every)
    lines = Path(calibration.__file__).with_name("calibration.tsv").read_text(encoding="utf-8").splitlines()
    languages = Counter(line.split("\t")[0] for line in lines)
    assert len(languages) == 45
    assert min(languages.values()) == 3


def test_calibration_prompts_as_the_card_does(checkpoints):
    made = checkpoints("e5")
    meta = replace(made.meta, languages=("en",))
    tokenizer = E5Encoder(made.meta, path=made.folder, device="cpu", backend="torch")._tokenizer
    batches = calibration.calibration_inputs(made.folder, meta)
    texts = calibration.calibration_texts(meta)
    assert len(batches) == len(texts)
    expected = tokenizer.encode([texts[0]], prompt="passage: ", max_tokens=512).batch.ids
    assert any(np.array_equal(batch.ids, expected) for batch in batches)
    expected = tokenizer.encode([texts[1]], prompt="query: ", max_tokens=512).batch.ids
    assert any(np.array_equal(batch.ids, expected) for batch in batches)
    assert max(int(batch.lengths[0]) for batch in batches) == 512


@needs_evaluations
def test_calibration_shares_nothing_with_evaluations():
    texts = calibration.calibration_texts(get_model_meta("multilingual-e5-small"))
    for name in ("scifact/corpus.jsonl", "scifact/queries.jsonl", "stsbenchmark/stsbenchmark.tsv"):
        theirs = (EVALUATIONS / name).read_text(encoding="utf-8").casefold()
        assert not [text for text in texts if len(text) > 20 and text.casefold() in theirs]


def test_calibrated_otherwise_is_another_model(checkpoints):
    meta = checkpoints("e5").meta
    others = [replace(meta, languages=("fr",)), replace(meta, prompt_kind="none"), replace(meta, max_tokens=128)]
    assert len({calibration.digest(each) for each in [meta, *others]}) == 4
    assert calibration.digest(replace(meta, name="another")) == calibration.digest(meta)
