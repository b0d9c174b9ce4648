"""OpenVINO alone: bfloat16 where the chip has it, and a fork while a model is converted."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest

from e5studio.errors import BackendError
from tests.backends.conftest import run
from tests.corpus import ORDINARY_TEXTS

openvino_backend = pytest.importorskip("e5studio.backends.openvino")

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")


@pytest.fixture
def load(load):
    return partial(load, backend="openvino")


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


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_while_a_model_is_made_loads_and_embeds(checkpoints, cache):
    code = """
import threading, e5studio.backends.openvino_encoder
from e5studio.backends import openvino
build, has_begun = openvino._build, threading.Event()
def build_slowly(*given):
    has_begun.set()
    return build(*given)
openvino._build = build_slowly
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
    assert run(code, checkpoints("e5"), "openvino") == ["0"]
