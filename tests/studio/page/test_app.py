"""The page's contract with Gradio: endpoints by name, no other way in, no warnings; launched with our limits."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from e5studio.default_model import ModelChoice
from e5studio.errors import ModelUnavailableError
from e5studio.models import list_models
from e5studio.studio import launch
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.zero_gpu import on_gpu
from e5studio.studio.launch import launch_app, load_in_background, main
from e5studio.studio.options import is_v1_on
from e5studio.studio.page.app import build_app
from e5studio.studio.serving.address import bind
from tests.studio.conftest import ABSENT, ENGLISH, FAULTY, INSTRUCT, OFFLINE

ROOT = Path(__file__).parents[3]

# Gradio and its client leave event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),  # Gradio sets an option that pandas 3 deprecates
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
    pytest.mark.usefixtures("gradio_litter"),
]


@pytest.fixture(scope="module")
def demo(services):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return build_app(services, ModelChoice(ENGLISH, "it is the tests' model"))


@pytest.fixture(scope="module")
def address(demo, services):
    yield launch_app(demo, services, wait=False, quiet=True)
    demo.close()


@pytest.fixture(scope="module")
def client(address):
    client = Client(address, verbose=False)
    yield client
    client.close()


def test_an_event_of_the_page_tells_no_component_of_its_progress(demo):
    """Gradio's script would tell every output of every event that ever ran, which takes as long as all the rest."""
    events = [event for event in demo.get_config_file()["dependencies"] if event["api_visibility"] == "private"]
    assert len(events) > 50
    assert [event["targets"] for event in events if event["show_progress_on"] != []] == []


def test_only_what_starts_long_work_ignores_a_second_press(demo):
    """What Gradio drops is what a reader's last click, or the later of two results, should have shown."""
    config = demo.get_config_file()
    names = {component["id"]: component["props"].get("elem_id") for component in config["components"]}
    events = [event for event in config["dependencies"] if event["api_visibility"] == "private"]
    ignoring = [event["targets"] for event in events if event["trigger_mode"] == "once" and event["backend_fn"]]
    triggers = [(names[component], trigger) for targets in ignoring for component, trigger in targets]
    assert {trigger for _, trigger in triggers} == {"click", "select", "pick"}
    buttons = {name for name, trigger in triggers if trigger == "pick"}
    assert buttons == {"e5-compare-chips", "e5-ranks-said"}
    followers = [event for event in events if event["trigger_after"] is not None]
    assert len(followers) > 10
    assert {event["trigger_mode"] for event in followers} == {"always_last"}


def test_only_the_endpoints_for_programs_are_public(demo):
    events = demo.get_config_file()["dependencies"]
    public = {event["api_name"] for event in events if event["api_visibility"] != "private"}
    assert public == {"models", "score", "search", "explain", "embed"}
    assert len(events) > len(public)


def test_what_encodes_waits_in_our_queue_and_not_in_gradios(demo):
    encoding = [fn for fn in demo.fns.values() if fn.concurrency_id in ("encode", "embed")]
    assert {fn.concurrency_id for fn in encoding} == {"encode", "embed"}
    assert {fn.concurrency_limit for fn in encoding} == {None}  # or nobody would be told how long the queue is


def test_models_lists_the_table(client):
    models = client.predict(api_name="/models")
    assert [model["name"] for model in models] == [meta.name for meta in list_models()]
    by_name = {model["name"]: model for model in models}
    assert by_name[ENGLISH]["is_default"]
    assert by_name[ENGLISH]["dimensions"] == 384
    assert by_name[ENGLISH]["prompts"] == "query and passage"


def test_score_gives_the_encoders_scores(client, encoders):
    queries, passages = ["protein", "summit"], ["one", "two", "three"]
    scores = client.predict(queries, passages, api_name="/score")
    assert scores == pytest.approx(encoders("e5").scores(queries, passages), abs=1e-3)
    named = client.predict(queries=queries, passages=passages, model="E5-small-v2", api_name="/score")
    assert named == scores


def test_search_and_explain_answer_in_fields(client, encoders):
    passages = ["one", "two", "three"]
    answer = client.predict(["summit"], passages, 1, api_name="/search")
    [row] = encoders("e5").scores(["summit"], passages)
    [hit] = answer["results"][0]["best"]
    assert passages[hit["number"] - 1] == hit["text"] == passages[row.argmax()]
    assert hit["score"] == pytest.approx(row.max(), abs=0.006)
    assert answer["model"] == ENGLISH
    explained = client.predict(query="summit", passage="one two", model="e5-small-v2", api_name="/explain")
    assert explained["score"] == pytest.approx(encoders("e5").scores(["summit"], ["one two"])[0, 0], abs=0.006)
    assert [each["word"] for each in explained["passage"]["without_word"]] == ["one", "two"]


def test_an_endpoint_answers_whoever_has_no_client(address):
    import httpx

    event = httpx.post(
        f"{address}gradio_api/call/v2/search", json={"queries": ["summit"], "passages": ["one", "two"], "top_k": 1}
    )
    stream = httpx.get(f"{address}gradio_api/call/search/{event.json()['event_id']}").text
    assert stream.startswith("event: complete")
    [answer] = json.loads(stream.partition("data: ")[2])
    assert [hit["rank"] for hit in answer["results"][0]["best"]] == [1]


def test_openais_client_gets_the_encoders_vectors(address, encoders):
    openai = pytest.importorskip("openai")
    texts = ["protein", "summit"]
    with openai.OpenAI(base_url=f"{address}v1", api_key="none", max_retries=0) as client:
        create = client.embeddings.create
        for role, model, fields in [
            ("query", f"{ENGLISH}-query", {}),
            ("document", "e5-small-v2", {"input_type": "passage"}),
        ]:
            answer = create(model=model, input=texts, extra_body=fields)
            expected = encoders("e5").encode(texts, prompt_name=role)
            np.testing.assert_allclose([each.embedding for each in answer.data], expected, atol=1e-6)
        assert ENGLISH in [each.id for each in client.models.list()]
        with pytest.raises(openai.BadRequestError, match="maximum allowed batch size 64"):
            create(model=f"{ENGLISH}-query", input=["a"] * 65)


def test_score_with_an_instruction(client, encoders):
    scores = client.predict(["protein"], ["one"], INSTRUCT, "Find it", api_name="/score")
    expected = encoders("multilingual-e5-instruct").scores(["protein"], ["one"], instruction="Find it")
    assert scores == pytest.approx(expected, abs=1e-3)


def test_score_under_each_use(client, encoders):
    texts, others = ["protein", "a summit"], ["one", "two", "three"]
    encoder = encoders("e5")
    for prompt_mode, prompt in (("symmetric", "query: "), ("none", "")):
        rows, columns = (encoder.encode(side, prompt=prompt) for side in (texts, others))
        scores = client.predict(texts, others, prompt_mode=prompt_mode, api_name="/score")
        assert scores == pytest.approx(100 * rows @ columns.T, abs=1e-3)
        among_themselves = client.predict(texts, [], prompt_mode=prompt_mode, api_name="/score")
        assert among_themselves == pytest.approx(100 * rows @ rows.T, abs=1e-3)
    assert client.predict(texts, others, prompt_mode="retrieval", api_name="/score") == client.predict(
        texts, others, api_name="/score"
    )


def test_precision_and_back_end_are_asked_for(client, stand_in_pool):
    client.predict(["one"], ["two"], dtype="bfloat16", backend="torch", api_name="/score")
    assert stand_in_pool.asked[-1] == ("bfloat16", "torch")
    client.predict(["one"], "query", dtype="int8", api_name="/embed")
    assert stand_in_pool.asked[-1] == ("int8", "auto")
    client.predict(["one"], "query", api_name="/embed")
    assert stand_in_pool.asked[-1] == ("auto", "auto")


def test_embed_gives_the_encoders_vectors(client, encoders):
    rows = client.predict(texts=["one", "two"], role="passage", api_name="/embed")
    assert rows == pytest.approx(encoders("e5").encode_document(["one", "two"]), abs=1e-6)
    bare = client.predict(texts=["one"], prompt="", api_name="/embed")
    assert bare == pytest.approx(encoders("e5").encode(["one"], prompt=""), abs=1e-6)


@pytest.mark.parametrize(
    ("endpoint", "arguments", "words"),
    [
        ("/embed", {"texts": ["one"]}, "none was chosen"),
        ("/embed", {"texts": ["one", ""], "role": "query"}, "1 of 2 texts are empty"),
        ("/embed", {"texts": ["one", 2], "role": "query"}, "Texts must be str"),
        ("/embed", {"texts": ["one"] * 65, "role": "query"}, "65 texts are more than the 64"),
        ("/embed", {"texts": ["x" * 20_001], "role": "query"}, "20,001 characters"),
        ("/embed", {"texts": ["one"], "role": "query", "model": "/etc"}, "Unknown model"),
        ("/embed", {"texts": ["one"], "role": "query", "model": 5}, "not by int"),
        ("/embed", {"texts": ["one"], "role": 5}, "Unknown prompt name"),
        ("/embed", {"texts": [], "role": "query"}, "no texts: the list is empty"),
        ("/score", {"queries": [], "passages": ["two"]}, "no queries: the list is empty"),
        ("/score", {"queries": ["one"], "passages": []}, "no passages: the list is empty"),
        ("/search", {"queries": ["one"], "passages": []}, "no passages: the list is empty"),
        ("/search", {"queries": ["one"], "passages": ["two"], "top_k": 0}, "from 1 to 100"),
        ("/search", {"queries": ["one"], "passages": "two"}, "Wrap a single text in a list"),
        ("/search", {"queries": ["one"], "passages": ["x"] * 65}, "65 passages are more than the 64"),
        ("/explain", {"query": "", "passage": "two"}, "1 of 1 texts are empty"),
        ("/explain", {"query": 5, "passage": "two"}, "Texts must be str"),
        ("/explain", {"query": "x" * 20_001, "passage": "two"}, "20,001 characters"),
        ("/explain", {"query": "one", "passage": "two", "model": FAULTY}, "inside the Studio (RuntimeError)"),
        ("/score", {"queries": ["one"], "passages": ["two"], "model": ""}, "Unknown model"),
        ("/embed", {"texts": ["one"], "role": "query", "model": "<b>bold</b>"}, "&lt;b&gt;"),
        ("/score", {"queries": ["one"], "passages": ["two"], "model": ABSENT}, "does not answer"),
        ("/score", {"queries": ["one"], "passages": ["two"], "instruction": "Find"}, "not trained with instructions"),
        ("/score", {"queries": ["one"], "passages": ["two"], "prompt_mode": "search"}, "'search' is unknown"),
        (
            "/score",
            {"queries": ["one"], "passages": ["two"], "prompt_mode": "none", "instruction": "Find"},
            "stands alone",
        ),
        ("/score", {"queries": ["one"], "passages": ["two"], "dtype": "float8"}, "left out, it is 'auto'"),
        ("/embed", {"texts": ["one"], "role": "query", "backend": ["torch"]}, "is unknown"),
        ("/score", {"queries": ["one"], "passages": ["two"], "model": FAULTY}, "inside the Studio (RuntimeError)"),
    ],
)
def test_a_programs_mistake_is_answered_with_a_sentence(client, endpoint, arguments, words):
    with pytest.raises(AppError) as caught:
        client.predict(**arguments, api_name=endpoint)
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "nobody foresaw" not in str(caught.value)


def test_the_page_is_served_with_the_guard_before_it(address):
    import httpx

    assert httpx.get(address).status_code == 200
    assert httpx.get(f"{address}gradio_api/file=http://169.254.169.254/x").status_code == 403
    assert httpx.get(f"{address}gradio_api/file=/etc/passwd").status_code in (403, 404)
    assert httpx.get(f"{address}monitoring/summary").status_code in (401, 403, 404)
    assert httpx.post(f"{address}gradio_api/queue/join", content=b"x" * 8_000_001).status_code == 413


def test_files_may_be_larger_than_other_requests_but_not_of_any_size(address):
    import httpx

    assert httpx.post(f"{address}gradio_api/upload", files={"files": b"x" * 8_100_000}).status_code == 200
    assert httpx.get(f"{address}config").json()["max_file_size"] == 250_000_000
    url = urlsplit(address)
    announced = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    announced.putrequest("POST", "/gradio_api/upload")
    announced.putheader("Content-Length", "260000001")
    announced.endheaders()
    assert announced.getresponse().status == 413
    announced.close()


def test_a_model_that_cannot_be_loaded_in_the_background_ends_quietly(engine, caplog):
    load_in_background(engine, ABSENT).join(10)
    assert "does not answer" in caplog.text
    with pytest.raises(ModelUnavailableError):
        engine.load(ABSENT)


@pytest.mark.parametrize("module", ["launch", "engine.engine", "api.answers", "diagnose.text", "serving.sessions"])
def test_what_is_not_layout_loads_no_gradio(module):
    code = f"import sys, e5studio.studio.{module}; print([m for m in ('gradio', 'torch', 'umap') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_python_app_py_passes_on_what_it_was_told(monkeypatch):
    calls = []
    monkeypatch.setattr(launch, "run_studio", lambda *models, **address: calls.append((models, address)))
    models = ["--model", "e5-base-v2", "--model", "./my e5", "--prompt-kind", "none", "--corpus", "a", "--corpus", "b"]
    main([*models, "--host", "0.0.0.0", "--port", "7999", "--mcp"])
    main([])
    assert calls == [
        (
            (["e5-base-v2", "./my e5"], ["none"]),
            {"corpora": ["a", "b"], "host": "0.0.0.0", "port": 7999, "v1": None, "mcp": True},
        ),
        ((None, None), {"corpora": None, "host": None, "port": None, "v1": None, "mcp": None}),
    ]


JOINED = SimpleNamespace(join=lambda _: None)


@pytest.fixture
def launched(monkeypatch):
    """How `run_studio` launches, without a model, a page or a server."""
    options_of_launch = []
    monkeypatch.setattr(launch, "load_in_background", lambda *_: JOINED)
    monkeypatch.setattr(
        launch, "launch_app", lambda demo, services, **options: options_of_launch.append(options["mcp"])
    )
    monkeypatch.setitem(sys.modules, "mcp", ModuleType("mcp"))
    monkeypatch.setitem(sys.modules, "mcp.server", ModuleType("mcp.server"))
    return options_of_launch


@pytest.mark.parametrize(
    ("value", "option", "is_on"),
    [("1", None, True), ("Yes", None, True), ("0", None, False), ("", None, False), ("1", False, False)],
)
def test_mcp_is_on_where_it_is_asked_for(monkeypatch, launched, value, option, is_on):
    monkeypatch.setenv("E5STUDIO_MCP", value)
    launch.run_studio(["all-MiniLM-L6-v2"], mcp=option)
    assert launched == [is_on]


@pytest.mark.parametrize(
    ("value", "option", "is_on"), [("", None, True), ("0", None, False), ("0", True, True), ("1", False, False)]
)
def test_v1_is_on_unless_it_is_switched_off(monkeypatch, value, option, is_on):
    monkeypatch.setenv("E5STUDIO_V1", value)
    assert is_v1_on(option) is is_on


def test_a_page_without_v1_has_no_program_that_calls_it(monkeypatch, launched):
    pages = []
    monkeypatch.setattr(launch, "launch_app", lambda demo, services, **_: pages.append((demo, services)))
    main(["--model", "all-MiniLM-L6-v2", "--no-v1"])
    [(demo, services)] = pages
    assert not services.has_v1
    [targets] = [block for block in demo.blocks.values() if getattr(block, "elem_id", None) == "e5-code-target"]
    assert [title for title, _ in targets.choices] == [each.title for each in TARGETS if not each.calls_studio]


def test_the_models_of_a_space_are_those_of_its_environment(monkeypatch, launched, checkpoints):
    folder = checkpoints("e5").folder
    monkeypatch.setenv("E5STUDIO_MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("E5STUDIO_MODELS", f"all-MiniLM-L6-v2, {folder}=query_passage,")
    seen = []
    monkeypatch.setattr(
        launch, "load_in_background", lambda engine, model: seen.append((engine.catalog, model)) or JOINED
    )
    launch.run_studio()
    [(catalog, model)] = seen
    assert model == OFFLINE
    assert [each.folder for each in catalog.own] == [folder]


def test_a_model_that_cannot_be_used_ends_the_start(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--model", "./nowhere"])
    assert caught.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_mcp_is_off_by_default(monkeypatch, launched):
    monkeypatch.setenv("GRADIO_MCP_SERVER", "true")
    launch.run_studio(["all-MiniLM-L6-v2"])
    assert launched == [False]


def test_mcp_without_its_package_ends_with_the_line_that_installs_it(monkeypatch, launched, capsys):
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "mcp.server")
    with pytest.raises(SystemExit) as caught:
        main(["--mcp"])
    assert caught.value.code == 1
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    message = capsys.readouterr().err
    assert message.startswith("An MCP server needs the mcp package (")
    assert message.endswith(f"). Install it with: pip install '{extras['mcp'][0]}'\n")
    assert message.count("\n") == 1
    assert not launched


def test_a_switch_that_says_neither_yes_nor_no_is_named(monkeypatch, launched, capsys):
    monkeypatch.setenv("E5STUDIO_MCP", "maybe")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err == "E5STUDIO_MCP='maybe' is neither yes nor no. Set it to 1 or 0, or unset it.\n"


@pytest.mark.parametrize("arguments", [["--port", "99999"], ["--port", "0"], ["--port", "x"], ["--model", " "]])
def test_wrong_usage_of_app_py_names_the_option(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"argument {arguments[0]}: " in capsys.readouterr().err


def test_the_start_line_names_the_model_and_a_port_that_was_taken(services, monkeypatch, capsys):
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    first, second = (build_app(services, ModelChoice(ENGLISH, "it is the tests' model")) for _ in range(2))
    launch_app(first, services, wait=False, quiet=True)
    assert capsys.readouterr().out == ""
    address = launch_app(second, services, model=ENGLISH, wait=False)
    assert capsys.readouterr().out == f"E5 Studio is at {address} (port 7860 was taken), model e5-small-v2\n"
    for page in (second, first):
        page.close()

    third = build_app(services, ModelChoice(ENGLISH, "it is the tests' model"))
    port = urlsplit(address).port
    capsys.readouterr()
    launch_app(third, services, address=bind(port=port), wait=False)
    assert capsys.readouterr().out == f"E5 Studio is at {address}\n"
    third.close()


def test_a_taken_port_ends_with_a_sentence_before_anything_is_loaded(monkeypatch, capsys):
    monkeypatch.setattr(launch, "set_up_gradio", lambda: pytest.fail("the start went on"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            main(["--port", str(port)])
    assert caught.value.code == 1
    message = f"Port {port} cannot be used at 127.0.0.1: it is taken. Choose another with --port.\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/a/folder"), "The Studio cannot start: /a/folder Permission denied"),
        (FileNotFoundError(2, "No usable temporary directory"), "The Studio cannot start: No usable temporary directo"),
        (ValueError("invalid literal\nfor int()"), "The Studio cannot start: ValueError: invalid literal for int()."),
        (ImportError("libx.so: failed to map segment"), "E5 Studio does not fit into memory"),
        (MemoryError(), "E5 Studio does not fit into memory"),
    ],
)
def test_whatever_stands_in_the_way_of_a_start_is_a_sentence(error, message, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr(launch, "set_up_gradio", fail)
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1


def test_a_start_that_is_interrupted_ends_quietly(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "set_up_gradio", interrupt)
    with pytest.raises(SystemExit) as caught:
        main([])
    assert (caught.value.code, capsys.readouterr().err) == (130, "")


def test_a_folder_that_was_deleted_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.startswith("The current folder cannot be used: No such file or directory.")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_page_needs_neither_the_hosts_proxy_nor_its_certificates(services, monkeypatch):
    """Of which one refuses, one needs a package that is not here, and one file is missing."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "[::1],fe80::/10")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/corp.pem")
    demo = build_app(services, ModelChoice(ENGLISH, "it is the tests' model"))
    address = urlsplit(launch_app(demo, services, wait=False, quiet=True))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request("GET", "/config")
    assert connection.getresponse().status == 200
    connection.close()
    demo.close()


@pytest.mark.parametrize("code", [0, 1, None])
def test_the_process_ends_in_the_middle_of_native_code(code):
    """A thread that loads a model is not waited for, and Python's own end does not break it off."""
    program = (
        "import atexit, sys, threading, time; from e5studio.studio import launch\n"
        "atexit.register(print, 'the end of Python')\n"
        "launch._has_started = True\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        f"with launch.ending_at_once():\n    print('a line', end=''); sys.exit({code})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (code or 0, "a line", "")


def test_an_unknown_model_ends_with_a_sentence_not_a_trace(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--model", "e5-smal-v2"])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "Did you mean" in message
    assert "./my-model" in message
    assert "prompt_kind" not in message


def test_zero_gpu_wraps_only_where_it_is(monkeypatch, tmp_path):
    def work():
        return "done"

    assert on_gpu(work) is work
    monkeypatch.delitem(sys.modules, "spaces", raising=False)
    (tmp_path / "spaces.py").write_text("def GPU(duration):\n    return lambda f: lambda: (duration, f())\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert on_gpu(work)() == (30, "done")
    monkeypatch.delitem(sys.modules, "spaces")
