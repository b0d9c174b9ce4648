"""What somebody sends who does not use the page: files, forged values and paths over raw HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.studio.browsing import NASTY
from tests.studio.serving.visitor import RefusedError, Visitor, open_page

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.usefixtures("gradio_litter"),
]

# No answer may tell where the program lies or how it is built; the Code tab's own programs have names that end in .py.
LEAKS = re.compile(r"Traceback|File \"|site-packages|[/\\]\w+\.py\b|/home/|/root/|/usr/|/opt/|root:x:0")

SENTENCE = re.compile(r".{10,400}\.", re.DOTALL)
WRONG_VALUES = {
    "dropdown": ["nonsense", 10**6, {"a": 1}, ["nonsense"]],
    "radio": ["nonsense", 10**6, {"a": 1}, ["nonsense"]],
    "checkboxgroup": ["nonsense", 10**6, ["nonsense"]],
    "number": [-1, "nonsense", ["nonsense"]],  # has no bounds, and becomes the usual one
    "slider": [-1, 10**6, "nonsense", None],
}


def never(*arguments, **options):
    raise AssertionError(f"something was fetched: {arguments}")


def without_leaks(answer):
    assert not LEAKS.search(answer.text), answer.text[:1000]
    return answer


def visit(address, do):
    """Open a page, do something on it, and return its result; nothing that the page was sent may leak paths."""

    async def go():
        page = await open_page(address)
        async with Visitor(address, page) as visitor:
            result = await do(visitor)
            heard = "".join(visitor.heard)
            assert not LEAKS.search(heard), LEAKS.search(heard)
            return result

    return asyncio.run(go())


async def opened_corpus(visitor):
    await visitor.press("e5-shelf", "opened", {"token": ""})
    return visitor


async def brought(visitor, content, name):
    """Upload a file and have it read, as the Corpus tab does."""
    await opened_corpus(visitor)
    async with httpx.AsyncClient(base_url=visitor.address, timeout=60) as client:
        answer = without_leaks(await client.post("/gradio_api/upload", files={"files": (name, content)}))
    [path] = answer.json()
    visitor.write("e5-corpus-file", {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}})
    await visitor.press("e5-corpus-file", "upload")
    return " ".join(words_in(visitor.sees("e5-corpus-said")))


def words_in(nodes):
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, list):
            yield from words_in(node[2:])


async def at_once(client, body, *, is_refused=False):
    """Have an event done that is not queued; what is wrong with the answer, if anything."""
    answer = without_leaks(await client.post("/gradio_api/run/predict", json=body))
    is_right = answer.status_code == 400 and SENTENCE.fullmatch(answer.json()["error"])
    is_right = is_right or (answer.status_code == 200 and not is_refused)
    return None if is_right else (answer.status_code, answer.text[:300])


async def queued(client, body, *, is_refused=False):
    """The same for an event of the queue, heard to its end."""
    joined = without_leaks(await client.post("/gradio_api/queue/join", json=body))
    if joined.status_code != 200:
        return joined.status_code, joined.text[:300]
    own = joined.json()["event_id"]
    query = {"session_hash": body["session_hash"]}
    async with client.stream("GET", "/gradio_api/queue/data", params=query) as news:
        async for line in news.aiter_lines():
            assert not LEAKS.search(line), line[:1000]
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("event_id") == own and message["msg"] == "process_completed":
                is_right = (
                    not is_refused if message["success"] else SENTENCE.fullmatch(message["output"]["error"] or "")
                )
                return None if is_right else message["output"]
    return "the stream ended before the event did"


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "file=/etc/passwd",
            "file=..%2f..%2fetc%2fpasswd",
            "file=%2e%2e/%2e%2e/etc/passwd",
            "file=/proc/self/environ",
            "file=pyproject.toml",
            "file=README.md",
            "file=e5studio/studio/page/page.css",
            "file=~/.ssh/id_rsa",
            "file=C:%5cWindows%5cwin.ini",
            "file=/etc/passwd%00.png",
            "file=http://169.254.169.254/latest/meta-data/",
            "file=HTTPS://example.com/",
            "file=//example.com/a",
            "proxy=http://169.254.169.254/",
            "stream/x/1/2/playlist.m3u8",
            "monitoring",
            "deep_link?session_hash=x",
            "file/https://example.com/",
        ],
    )
    def test_nothing_is_served_but_the_page(self, address, path):
        for prefix in ("gradio_api/", ""):
            answer = without_leaks(httpx.get(f"{address}{prefix}{path}"))
            assert 400 <= answer.status_code < 500, answer.text[:200]
            assert "meta-data" not in answer.text or "ami-id" not in answer.text

    def test_the_page_comes_compressed(self, address):
        with httpx.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert sum(map(len, answer.iter_raw())) < 60_000

    @pytest.mark.parametrize("key", ["", "x", "..%2f..%2fetc%2fpasswd", "a" * 5000])
    def test_downloads_have_keys_that_nobody_guesses(self, address, key):
        assert without_leaks(httpx.get(f"{address}e5studio/downloads/{key}")).status_code in (404, 414)

    def test_a_component_of_the_page_runs_no_function_of_the_server(self, address):
        body = {
            "session_hash": "x",
            "component_id": 1,
            "fn_name": "move_resource_to_block_cache",
            "data": "/etc/passwd",
        }
        assert without_leaks(httpx.post(f"{address}gradio_api/component_server", json=body)).status_code >= 400


class TestBodies:
    def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read(self, address):
        server = urlsplit(address)
        connection = http.client.HTTPConnection(server.hostname, server.port, timeout=20)
        connection.putrequest("POST", "/gradio_api/upload")
        connection.putheader("Content-Length", str(11_000_000_000))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (413, b"The request is too large.")
        connection.close()

    def test_a_body_in_pieces_is_counted(self, address):
        def pieces():
            for _ in range(40):
                yield b" " * 250_000

        answer = without_leaks(httpx.post(f"{address}gradio_api/queue/join", content=pieces(), timeout=30))
        assert (answer.status_code, answer.text) == (413, "The request is too large.")

    def test_a_thousand_files_at_once(self, address):
        files = [("files", (f"{number}.csv", b"a")) for number in range(1001)]
        assert (
            400 <= without_leaks(httpx.post(f"{address}gradio_api/upload", files=files, timeout=30)).status_code < 500
        )

    def test_a_name_as_long_as_a_book(self, address):
        answer = without_leaks(
            httpx.post(f"{address}gradio_api/upload", files={"files": ("a" * 9_000 + ".csv", b"a")}, timeout=30)
        )
        assert 400 <= answer.status_code < 500

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"data": NaN}',
            b'{"fn_index": 1e999, "data": [], "session_hash": "x"}',
            b'{"fn_index": -1, "data": [], "session_hash": "x"}',
            b'{"fn_index": 99999, "data": [], "session_hash": "x"}',
            b'{"fn_index": 1, "data": "text", "session_hash": "x"}',
            b'{"fn_index": 1, "data": [], "session_hash": {"a": 1}}',
            b"[" * 20_000,
            b'{"fn_index": 1, "data": ["\\ud800"], "session_hash": "x"}',
            "{}".encode("utf-16"),
        ],
    )
    @pytest.mark.parametrize("route", ["queue/join", "run/predict", "call/score", "call/v2/score", "run/score"])
    def test_what_is_no_request_is_answered_in_a_line(self, address, route, body):
        headers = {"content-type": "application/json"}
        answer = without_leaks(httpx.post(f"{address}gradio_api/{route}", content=body, headers=headers, timeout=30))
        assert answer.status_code >= 400 or "event_id" in answer.json()
        assert len(answer.content) < 20_000

    def test_the_page_goes_on_after_all_that(self, address):
        async def score(visitor):
            await visitor.press("e5-link", "rescore")
            return visitor.sees("e5-status")

        [[_, css, _]] = visit(address, score)
        assert css == "e5-done"


class TestForgedValues:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("e5-use", "sudo"),
            ("e5-separator", ["line"]),
            ("e5-model", "../../etc"),
            ("e5-model", "somebody/elses-model"),
            ("e5-model", {"path": "/etc/passwd"}),
            ("e5-model", None),
            ("e5-queries", 7),
            ("e5-queries", {"a": ["b"]}),
            ("e5-queries", None),
            ("e5-passages", "\n" * 10_000),
            ("e5-queries", "x" * 500_000),
            ("e5-queries", "text\n" * 10_000),
            ("e5-instruction", "x" * 1_000_000),
            ("e5-queries", "\ud800"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_become_a_sentence_or_are_taken_as_text(self, address, name, value):
        async def score(visitor):
            visitor.write(name, value)
            try:
                await visitor.press("e5-link", "rescore")
            except RefusedError as error:  # Gradio's own check of a choice
                return str(error)
            return visitor.sees("e5-status")[0][2]

        assert len(visit(address, score)) < 1_500

    def test_ten_thousand_lines_are_told_with_the_limit(self, address):
        async def score(visitor):
            visitor.write("e5-queries", "text\n" * 10_000)
            await visitor.press("e5-link", "rescore")
            return visitor.sees("e5-status")[0]

        _, css, message = visit(address, score)
        assert css == "e5-error"
        assert "10,000 line ends" in message
        assert "At most 64 queries" in message

    def test_events_of_the_page_do_nothing_that_their_buttons_do_not(self, address, capfd):
        """Gradio hides what is private and lets it be called: with rubbish, nobody may fall."""

        async def rubbish(visitor):
            faults = []
            async with httpx.AsyncClient(base_url=visitor.address, timeout=60) as client:
                for event in visitor.config["dependencies"]:
                    if not event["backend_fn"]:
                        continue
                    n = len(event["inputs"])
                    for values in ([], [None] * n, ["/etc/passwd"] * n):
                        known = {"fn_index": event["id"], "session_hash": visitor.session}
                        ask = queued if event["queue"] else at_once
                        fault = await ask(client, {**known, "data": values, "event_data": "x"})
                        faults += [(event["id"], event["targets"], values[:1], fault)] if fault else []
            return faults

        capfd.readouterr()
        assert visit(address, rubbish) == []
        assert "Traceback" not in capfd.readouterr().err

    def test_a_value_that_a_menu_or_a_number_cannot_have_is_refused_in_a_sentence(self, address, capfd):
        """For each such component of the page, in an event that takes it."""

        async def refusals(visitor):
            kinds = {part["id"]: part["type"] for part in visitor.config["components"]}
            values = {part["id"]: part["props"].get("value") for part in visitor.config["components"]}
            takers = {
                component: event
                for event in visitor.config["dependencies"]
                for component in event["inputs"]
                if event["backend_fn"] and kinds[component] in WRONG_VALUES
            }
            assert {kinds[component] for component in takers} == set(WRONG_VALUES)
            faults = []
            async with httpx.AsyncClient(base_url=visitor.address, timeout=60) as client:
                for component, event in takers.items():
                    for wrong in WRONG_VALUES[kinds[component]]:
                        data = [wrong if each == component else values[each] for each in event["inputs"]]
                        body = {"fn_index": event["id"], "session_hash": visitor.session, "data": data}
                        ask = queued if event["queue"] else at_once
                        fault = await ask(client, body, is_refused=kinds[component] != "number")
                        faults += [(kinds[component], wrong, fault)] if fault else []
            return faults

        capfd.readouterr()
        assert visit(address, refusals) == []
        assert "Traceback" not in capfd.readouterr().err


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "name", "part"),
        [
            (b"MZ\x90\x00", "setup.exe", "ends in"),
            (b"a", "noending", "ends in"),
            (b"PK\x03\x04zip", "book.csv", ""),
            (b"", "empty.csv", ""),
            (b"\x80\x04\x95pickle", "vectors.pkl", "ends in"),
        ],
    )
    def test_other_files_get_a_sentence_that_names_them(self, address, content, name, part):
        message = visit(address, lambda visitor: brought(visitor, content, name))
        assert part in message
        assert message
        assert "rows" not in message.lower() or name in message

    @pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "pyproject.toml", "http://169.254.169.254/"])
    def test_a_path_is_not_opened_because_a_request_names_it(self, address, path):
        async def bring(visitor):
            await opened_corpus(visitor)
            visitor.write("e5-corpus-file", {"path": path, "meta": {"_type": "gradio.FileData"}})
            try:
                await visitor.press("e5-corpus-file", "upload")
            except RefusedError as error:
                return str(error)
            return " ".join(words_in(visitor.sees("e5-corpus-said")))

        message = visit(address, bring)
        assert "root:" not in message
        assert "hatchling" not in message

    def test_what_stands_at_an_address_is_not_fetched(self, address, monkeypatch):
        """Not even where Gradio would think that it is public."""
        monkeypatch.setattr("safehttpx.get", never)

        async def bring(visitor):
            await opened_corpus(visitor)
            path = "https://example.com/some.csv"
            visitor.write("e5-corpus-file", {"path": path, "meta": {"_type": "gradio.FileData"}})
            with pytest.raises(RefusedError, match="The Studio fetches nothing from elsewhere"):
                await visitor.press("e5-corpus-file", "upload")
            return True

        assert visit(address, bring)

    def test_a_folder_is_no_file_and_keeps_nobody_from_being_forgotten(self, address, services):
        async def bring(visitor):
            await brought(visitor, b"text\none\n", "one.csv")
            folder = str(Path(visitor.sees("e5-corpus-file")["path"]).parent)
            visitor.write("e5-corpus-file", {"path": folder, "meta": {"_type": "gradio.FileData"}})
            with suppress(RefusedError):
                await visitor.press("e5-corpus-file", "upload")
            return visitor.session

        session = visit(address, bring)
        services.visitor_stores.forget_session(session)
        assert not any(session in entry.sessions for entry in services.visitor_stores._entries.values())

    def test_only_who_knows_its_token_finds_a_corpus_again(self, address):
        async def bring(visitor):
            await brought(visitor, b"text\none\n", "diary.csv")
            return visitor.sees("e5-shelf")

        async def reopen(visitor, sent):
            await visitor.press("e5-shelf", "opened", sent)
            return visitor.sees("e5-shelf"), "diary.csv" in "".join(visitor.heard)

        token = visit(address, bring)
        assert visit(address, lambda visitor: reopen(visitor, {"token": token})) == (token, True)
        for sent in ({"token": token[:-1]}, {"token": ""}, {"token": [token]}, {"key": token}, {}):
            other, is_seen = visit(address, lambda visitor, sent=sent: reopen(visitor, sent))
            assert (other != token, is_seen) == (True, False)

    def test_file_names_are_text(self, address):
        for name in (f"{NASTY[2]}.csv".replace("/", ""), "${alert(1)}.csv"):
            message = visit(address, lambda visitor, name=name: brought(visitor, b"text\none\ntwo\n", name))
            assert "2" in message


def test_a_connection_that_says_nothing_holds_up_nobody(address):
    server = urlsplit(address)
    silent = [socket.create_connection((server.hostname, server.port)) for _ in range(50)]
    try:
        for each in silent:
            each.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n")
        assert httpx.get(address, timeout=20).status_code == 200
    finally:
        for each in silent:
            each.close()


def test_an_unknown_origin_gets_no_credentials(address):
    answer = httpx.get(f"{address}config", headers={"Origin": "https://evil.example"})
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed is None or answer.headers.get("access-control-allow-credentials") != "true", dict(answer.headers)


def test_the_config_tells_no_paths(address):
    config = json.dumps(httpx.get(f"{address}config").json())
    assert "/root" not in config
    assert "site-packages" not in config
