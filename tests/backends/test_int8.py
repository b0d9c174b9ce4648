"""int8 stays close to float32, depends on nothing but the text, and is made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from e5studio.backends import calibration
from e5studio.encoder import E5Encoder
from e5studio.models import get_model_meta
from tests.backends.conftest import run
from tests.corpus import ORDINARY_TEXTS
from tests.evaluation.evaluation_sets import EVALUATIONS, needs_evaluations

pytest.importorskip("openvino")

TEXTS = list(ORDINARY_TEXTS) * 2 + [" ".join(ORDINARY_TEXTS) * 3]

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")


# A tenth of the texts calibrates random weights as well, and the last fills the model's length.
FEWER_TEXTS = """
from e5studio.backends import calibration
of_model = calibration.calibration_texts
calibration.calibration_texts = lambda meta: [*of_model(meta)[:-1:12], of_model(meta)[-1]]
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E5STUDIO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def int8(checkpoints, cache) -> E5Encoder:
    """A model made here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "calibration_texts", calibration.calibration_texts)  # put back at the end
        exec(FEWER_TEXTS, {})
        return E5Encoder(checkpoints("e5").folder, prompt_kind="query_passage", backend="openvino", dtype="int8")


def test_vectors_are_close_to_float32(int8, encoders):
    exact, rounded = encoders("e5").encode_document(TEXTS), int8.encode_document(TEXTS)
    # Of random weights; test_published_scores says what int8 costs a real model.
    assert (exact * rounded).sum(axis=1).min() > 0.93
    assert not np.allclose(exact, rounded, atol=1e-3)
    assert int8.spec.dtype == "int8"


def test_neighbours_do_not_matter(int8):
    together = int8.encode_document(TEXTS)
    alone = np.stack([int8.encode_document(text) for text in TEXTS])
    # What is not quantised is bfloat16 on chips that have it, whose kernels round differently from shape to shape.
    assert (together * alone).sum(axis=1).min() > 0.9998


def test_it_makes_the_weights_smaller(int8, checkpoints, converted):
    assert int8._backend.n_bytes < 0.8 * converted(checkpoints("e5"), "openvino")._backend.n_bytes


def test_a_start_from_disk_makes_nothing_and_needs_no_torch(int8, checkpoints):
    code = FEWER_TEXTS + (
        "calibration.calibration_inputs = None\nload(dtype='int8').encode_query('a')\nprint('torch' in sys.modules)"
    )
    assert run(code, checkpoints("e5"), "openvino") == ["False"]


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
