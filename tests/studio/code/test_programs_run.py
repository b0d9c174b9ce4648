"""Every program of the Code tab, run as it is, prints the numbers of the page as nearly as it says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from e5studio import models
from e5studio.default_model import ModelChoice
from e5studio.errors import TruncationWarning
from e5studio.model_pool import ModelPool
from e5studio.studio.code.precision import tolerance
from e5studio.studio.code.state import PAGE_FILE, state_of
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.catalog import named_catalog
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.launch import launch_app
from e5studio.studio.page.app import build_app
from e5studio.studio.page.save import export_page
from e5studio.studio.page.view_state import SharedView
from e5studio.studio.services import Services
from tests.studio.browsing import NASTY
from tests.studio.small_models import OFFLINE, STAND_INS, fill_cache

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
    pytest.mark.usefixtures("gradio_litter"),
]

E5, MULTILINGUAL, INSTRUCT, MISTRAL = STAND_INS
QUERIES = "how much protein should a female eat\nsummit define"
SHORT = "46 grams a day is the average\nthe top of a mountain\n"
PASSAGES = SHORT + "a passage that is too long " * 200
ODD = [
    *NASTY,
    "it's \"quoted\" \\ and 'so on' $(touch gone) `touch gone`; echo !! #",
    "two\nlines\twith a tab",
    "half a character \ud800 here",
    "'''\"\"\"\\",
    "JSON\u2028\u2029\x85\x0c\x07 {\"data\": []} 'x'",
    "emoji 👩\u200d💻 漢字 \U000e0041",
]
ODD_BOX = "\n\n".join(ODD)
# What transformers 5 gives other tokens than the published tokenizer.json of multilingual models does.
ENDS = [
    "ends in a space ",
    "no-break\u00a0",
    "zero-width\u200b",
    "a </s> b <mask> c <s>",
    "two  spaces\nand a tab\t",
    "ends",
]
ENDS_BOX = "\n\n".join(ENDS)

REQUESTS = {
    "e5-symmetric": ScoreRequest(E5, "symmetric", QUERIES, PASSAGES),
    "e5-none-self": ScoreRequest(E5, "none", PASSAGES, ""),
    "e5-odd": ScoreRequest(E5, "retrieval", ODD_BOX, ODD_BOX, separator="blank_line"),
    "e5-openvino": ScoreRequest(E5, "retrieval", QUERIES, PASSAGES, backend="openvino"),
    "e5-many": ScoreRequest(E5, "retrieval", QUERIES, "\n".join(f"{n} times {ODD[len(NASTY)]}" for n in range(65))),
    "multilingual-ends": ScoreRequest(MULTILINGUAL, "retrieval", ENDS_BOX, ENDS_BOX, separator="blank_line"),
    "multilingual": ScoreRequest(MULTILINGUAL, "retrieval", QUERIES, PASSAGES),
    "instruct": ScoreRequest(INSTRUCT, "retrieval", QUERIES, PASSAGES, 'Find what "it\'s" about\\'),
    "instruct-default": ScoreRequest(INSTRUCT, "retrieval", QUERIES, PASSAGES),
    "instruct-symmetric-self": ScoreRequest(INSTRUCT, "symmetric", PASSAGES, "", "Retrieve similar text"),
    "instruct-none": ScoreRequest(INSTRUCT, "none", QUERIES, PASSAGES, "Not used"),
    "mistral": ScoreRequest(MISTRAL, "retrieval", QUERIES, PASSAGES + "and longer than all others " * 200, "Find it"),
    "minilm-odd-self": ScoreRequest(OFFLINE, "none", ODD_BOX, "", separator="blank_line"),
    "own": ScoreRequest("my e5", "retrieval", QUERIES, PASSAGES),
    "own-none": ScoreRequest("my e5", "none", QUERIES, PASSAGES),
    "minilm-bfloat16": ScoreRequest(OFFLINE, "none", QUERIES, SHORT, dtype="bfloat16", backend="torch"),
}
FAMILIES = {"transformers": "transformers", "sentence-transformers": "sentence-transformers"}
PYTHON = [target for target in TARGETS if target.language == "python"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory, checkpoints, offline_folder):
    """The Hub's cache of this process and of those that it starts; the table says what is in it."""
    root = tmp_path_factory.mktemp("hub")
    folders = {name: checkpoints(short).folder for name, short in STAND_INS.items()}
    fill_cache(root / "hub", {**folders, OFFLINE: offline_folder})
    patch = pytest.MonkeyPatch()
    patch.setattr(constants, "HF_HUB_CACHE", str(root / "hub"))
    for name, short in STAND_INS.items():
        small = checkpoints(short).meta
        size = {field: getattr(small, field) for field in ("n_layers", "embed_dim", "n_parameters")}
        if name == MISTRAL:
            size["max_tokens"] = 512  # of thousands, each program takes seconds
        patch.setitem(models._BY_KEY, name.casefold(), replace(models.get_model_meta(name), **size))
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def own_model(checkpoints, tmp_path_factory):
    """A folder that states its prompts, under another path than the one in the programs."""
    own = tmp_path_factory.mktemp("server") / "my e5"
    shutil.copytree(checkpoints("e5").folder, own)
    stated = {"prompts": {"query": "query: ", "document": "passage: "}}
    (own / "config_sentence_transformers.json").write_text(json.dumps(stated), encoding="utf-8")
    return own


@pytest.fixture(scope="module")
def own_engine(cache, own_model):
    return Engine(ModelPool(), catalog=named_catalog([str(own_model)]))


@pytest.fixture(scope="module")
def address(own_engine):
    services = Services(own_engine)
    demo = build_app(services, ModelChoice(OFFLINE, "a test"))
    yield launch_app(demo, services, wait=False, quiet=True)
    demo.close()


@pytest.fixture(scope="module")
def results(own_engine):
    return {name: own_engine.score(request) for name, request in REQUESTS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, results, address, own_model):
    """All programs, a folder for each result."""
    root = tmp_path_factory.mktemp("programs")
    for name, result in results.items():
        (root / name).mkdir()
        (root / name / PAGE_FILE).write_bytes(export_page(result, SharedView()).content)
        for target in TARGETS:
            code = target.write(state_of(result, address))
            (root / name / target.file_name).write_text(code, encoding="utf-8")
            assert str(own_model.parent) not in code
        if name.startswith("own"):
            (root / name / "path" / "to").mkdir(parents=True)
            (root / name / "path" / "to" / own_model.name).symlink_to(own_model)
    return root


@pytest.fixture(scope="module")
def printed(folder):
    """What the programs in Python print, by result and target: all in this process, for starting one takes seconds."""
    here = Path.cwd()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # some texts are too long
        outputs = {
            (name, target.file_name): run_python(folder / name / target.file_name)
            for name in REQUESTS
            for target in PYTHON
        }
    os.chdir(here)
    return outputs


def run_python(program):
    """What a program prints, started in its own folder; the traceback of what it raises."""
    os.chdir(program.parent)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            runpy.run_path(str(program), run_name="__main__")
        except Exception:
            return said.getvalue() + traceback.format_exc()
    return said.getvalue()


def family_of(target):
    return FAMILIES.get(target.title, "e5studio")


def matrix_in(printed):
    return np.array([[float(number) for number in line.split()] for line in printed.splitlines()])


def assert_agrees(matrix, result, limit):
    assert matrix.shape == result.scores.shape
    assert abs(matrix - result.scores).max() <= limit


@pytest.mark.parametrize("target", PYTHON, ids=lambda target: target.title)
@pytest.mark.parametrize("name", REQUESTS)
def test_it_prints_the_numbers_of_the_page(name, target, printed, results):
    output = printed[name, target.file_name]
    assert "Traceback" not in output, output
    limit = tolerance(state_of(results[name], ""), family_of(target))
    assert_agrees(matrix_in(output), results[name], limit + 0.005)  # two decimals are printed


needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")


def run_bash(*command, **options):
    return subprocess.run(["bash", *command], capture_output=True, text=True, timeout=60, **options)


CALLED = ["e5-odd", "e5-many", "e5-none-self", "instruct", "instruct-symmetric-self", "own", "minilm-bfloat16"]


@needs_curl
@pytest.mark.parametrize("name", CALLED)
def test_curl_prints_the_numbers_of_the_page(name, folder, results):
    ran = run_bash("score_with_curl.sh", cwd=folder / name, check=True)
    assert not ran.stderr
    assert_agrees(
        np.array(json.loads(ran.stdout)["scores"]), results[name], tolerance(state_of(results[name], ""), "e5studio")
    )
    assert not (folder / name / "gone").exists()


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node.js on this machine")
@pytest.mark.parametrize("name", ["e5-odd", "e5-many", "instruct-symmetric-self"])
def test_javascript_prints_the_numbers_of_the_page(name, folder, results):
    command = ["node", "score_with_javascript.mjs"]
    ran = subprocess.run(command, cwd=folder / name, capture_output=True, text=True, timeout=60, check=True)
    limit = tolerance(state_of(results[name], ""), "e5studio")
    assert_agrees(matrix_in(ran.stdout), results[name], limit + 0.005)


@needs_curl
@pytest.mark.parametrize("name", ["e5-odd", "e5-many"])
def test_curl_can_be_pasted_into_a_shell(name, folder, results, tmp_path):
    """Interactive shells read some characters differently: "!" is of history."""
    program = (folder / name / "score_with_curl.sh").read_text(encoding="utf-8")
    environment = {**os.environ, "HOME": str(tmp_path), "PS1": "", "PS2": ""}
    ran = run_bash("-i", input=program, cwd=folder / name, env=environment, start_new_session=True)
    [answer] = re.findall(r'^{"object":"scores".*?}', ran.stdout, re.MULTILINE)
    scores = np.array(json.loads(answer.partition(',"best"')[0] + "}")["scores"])
    assert_agrees(scores, results[name], tolerance(state_of(results[name], ""), "e5studio"))
    for words in ("not found", "syntax error", "bad pattern"):
        assert words not in ran.stdout + ran.stderr


@needs_curl
def test_curl_says_what_went_wrong_and_fails(results, address, tmp_path):
    state = state_of(results["multilingual"], address)
    write = next(target.write for target in TARGETS if target.title == "curl")
    cases = [
        (replace(state, model='no-such "model" & <b>'), "Unknown model 'no-such \\\"model\\\" & <b>'"),
        (replace(state, queries=(" ",)), "1 of 1 texts are empty"),
        (replace(state, address=f"{address}nowhere/"), "404"),
        (replace(state, address="http://127.0.0.1:9/"), "connect"),
    ]
    for wrong, words in cases:
        ran = run_bash("-c", write(wrong), cwd=tmp_path)
        assert ran.returncode != 0
        assert words in ran.stdout + ran.stderr


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.title)
def test_the_comment_holds_the_first_row(target, folder, results):
    for name, result in results.items():
        lines = (folder / name / target.file_name).read_text(encoding="utf-8").splitlines()
        [index] = [index for index, line in enumerate(lines) if line.endswith("The first row on the page:")]
        numbers = [float(word) for word in lines[index + 1].strip("#/ ").split(" ...")[0].split()]
        assert numbers == pytest.approx(result.scores[0, : len(numbers)], abs=0.0051)
        assert len(numbers) == min(8, result.scores.shape[1])
        is_shell = target.language == "shell"
        assert lines[0] == ": <<'E5STUDIO'" if is_shell else lines[0].startswith(("# ", "// "))
        assert "install" in lines[1 if is_shell else 0]
