"""The models themselves: the figures of their cards, for whoever has a network (`pytest --hub`).

Each runs in a process of its own, as a user's would, with the user's cache of the Hub.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests import corpus
from tests.conftest import HUB_VARIABLES

pytestmark = [pytest.mark.hub, pytest.mark.timeout(7200)]

# huggingface.co/intfloat/multilingual-e5-large-instruct, under "Transformers"
INSTRUCT_SCORES = [[91.92852783203125, 67.580322265625], [70.3814468383789, 92.1330795288086]]

SCORES = """
import json, sys
from e5studio import E5Encoder

queries, passages = json.loads(sys.stdin.read())
with E5Encoder("intfloat/multilingual-e5-large-instruct") as encoder:
    instruction = "Given a web search query, retrieve relevant passages that answer the query"
    print(json.dumps(encoder.scores(queries, passages, instruction=instruction).tolist()))
"""


def run(*arguments, given=""):
    environment = {name: value for name, value in os.environ.items() if name not in HUB_VARIABLES}
    environment |= {name: value for name, value in HUB_VARIABLES.items() if value is not None}
    result = subprocess.run(
        [sys.executable, *arguments], input=given, capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("task", "protocol"), [("SciFact", "authors"), ("STSBenchmark", "authors"), ("STSBenchmark", "mteb")]
)
def test_small_reaches_its_published_figures(task, protocol):
    options = ["--model", "intfloat/e5-small-v2", "--protocol", protocol, "--check", "--json"]
    output = run("-m", "e5studio", "evaluate", task, *options)  # a figure that is not reproduced ends it with code 4
    [result] = output["results"]
    compared = [each for each in result["e5studio"]["published"] if each["difference"] is not None]
    assert compared
    assert all(each["agrees"] for each in compared), compared


def test_instruct_gives_the_scores_of_its_card():
    texts = [
        [corpus.PROTEIN_QUERY, corpus.PUMPKIN_QUERY],
        [corpus.PROTEIN_PASSAGE, corpus.PUMPKIN_PASSAGE],
    ]
    output = run("-c", SCORES, given=json.dumps(texts))
    assert output == [pytest.approx(row, abs=0.01) for row in INSTRUCT_SCORES]
