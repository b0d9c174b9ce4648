"""`e5studio serve` as a process: it starts, answers, and ends when it is asked to, after its last answer."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from e5studio.cli.app import app
from e5studio.errors import E5StudioError
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.server.listening import bind
from e5studio.server.loading import load_models, read_model


@pytest.fixture
def process(checkpoints):
    """A server of the small e5, and its address."""
    arguments = ["serve", "--model", f"{checkpoints('e5').folder}=query_passage", "--port", "0", "--backend", "torch"]
    started = subprocess.Popen(
        [sys.executable, "-m", "e5studio", *arguments],
        env={**os.environ, "E5STUDIO_API_KEY": "the-key", "E5STUDIO_DEFAULT_ROLE": "document"},
        stderr=subprocess.PIPE,
        text=True,
    )
    line = next(line for line in started.stderr if "Serving" in line)
    yield started, re.search(r"http://\S+", line)[0]
    started.kill()
    started.wait()
    started.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_sigterm_under_load_answers_what_was_admitted_and_exits_0(process, e5):
    started, address = process
    texts = [f"{number} " + "mountain river " * 150 for number in range(6)]
    headers = {"authorization": "Bearer the-key"}

    def ask(number):
        body = {"input": [f"{number}", *texts]}
        return httpx.post(f"{address}/v1/embeddings", json=body, headers=headers, timeout=60)

    assert httpx.post(f"{address}/embed", json={"inputs": "a"}).status_code == 401
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(ask, number) for number in range(8)]
        deadline = time.monotonic() + 30
        while "e5_requests_in_progress 8.0" not in httpx.get(f"{address}/metrics").text:
            assert time.monotonic() < deadline
        started.send_signal(signal.SIGTERM)
        for number, each in enumerate(answers):
            answer = each.result()
            assert answer.status_code == 200
            vector = answer.json()["data"][0]["embedding"]
            np.testing.assert_allclose(vector, e5.encode_document(str(number)), atol=1e-6)
    assert started.wait(30) == 0


def test_a_port_that_is_taken_is_a_sentence():
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--model", "e5-small-v2", "--port", str(port)])
    assert (result.exit_code, f"port {port}" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "e5-smal-v2"], "e5-small-v2"),
        (["--model", "folder=nonsense"], "query_passage"),
        (["--model", "e5-small-v2", "--default-role", "both"], "query"),
        (["--api-key", " "], "empty"),
    ],
)
def test_wrong_options_are_a_sentence(arguments, said):
    result = CliRunner().invoke(app, ["serve", "--port", "0", *arguments])
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_two_models_of_one_name_are_refused(e5, monkeypatch):
    pool = SimpleNamespace(lease_with=lambda *_: SimpleNamespace(encoder=e5))
    monkeypatch.setattr("e5studio.server.loading.get_model_pool", lambda: pool)
    with pytest.raises(E5StudioError, match="tiny/e5"):
        load_models([ModelOptions("a"), ModelOptions("b")], EncodeOptions())


def test_a_model_may_be_followed_by_its_prompt_kind(tmp_path):
    options = ModelOptions("", dtype="float32")
    read = read_model("models/own=instruct", options)
    assert read == ModelOptions("models/own", prompt_kind="instruct", dtype="float32")
    assert read_model("e5-small-v2", options).prompt_kind is None
    with pytest.raises(E5StudioError):
        read_model("e5-small-v2=", options)
