"""The Hub's real client against a server of this machine that fails in the ways the Hub can fail."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from e5studio import hub
from e5studio.errors import ModelUnavailableError
from tests.checkpoints import Checkpoint, CheckpointName

COMMIT = "a" * 40
MODEL = "somebody/e5-mistral"

# The client reads the server's address at its import, so it runs in a process of its own.
CLIENT = """
import json, sys
from e5studio import hub
from e5studio.errors import E5StudioError
try:
    files = hub.fetch(sys.argv[1], hub.find_local(sys.argv[1]))
    result = {"folder": str(files.folder), "source": files.source, "revision": files.revision}
except E5StudioError as error:
    result = {"error": type(error).__name__, "message": str(error)}
print(json.dumps(result | {"is here": hub.find_local(sys.argv[1]) is not None}))
"""


class LoopbackHub(ThreadingHTTPServer):
    """Serves one folder as a repository of the Hub.

    Attributes:
        cut: Name of a file whose connection breaks in the middle, and which is refused from then on.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.cut: str | None = None
        self.was_cut = False
        self.address = f"http://127.0.0.1:{self.server_port}"

    def names(self) -> list[str]:
        return [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackHub

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/") and "/tree/" in path:
            self._send(
                [self._described(name, "path") | {"type": "file", "oid": "0" * 40} for name in self.server.names()]
            )
        elif path.startswith("/api/models/"):
            siblings = [self._described(name, "rfilename") for name in self.server.names()]
            self._send({"id": MODEL, "sha": COMMIT, "siblings": siblings})
        elif "/resolve/" in path:
            self._send_file(path.split("/resolve/")[1].split("/", 1)[1])
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        return None

    def _described(self, name: str, key: str) -> dict[str, Any]:
        return {key: name, "size": (self.server.folder / name).stat().st_size}

    def _send(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, name: str) -> None:
        if not (self.server.folder / name).is_file():
            self.send_error(404)
            return
        if name == self.server.cut and self.server.was_cut:
            self.send_error(403)
            return
        body = (self.server.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.server.was_cut |= name == self.server.cut
        self.wfile.write(body[: len(body) // 2] if name == self.server.cut else body)


@pytest.fixture
def server(checkpoints: Callable[[CheckpointName], Checkpoint]) -> Iterator[LoopbackHub]:
    with LoopbackHub(checkpoints("e5-mistral-instruct").folder) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: LoopbackHub, home: Path, *, offline: bool = False) -> dict[str, Any]:
    """What a fresh process finds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": str(int(offline))}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, MODEL], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_damage_in_the_cache_is_refused_and_the_advice_helps(server: LoopbackHub, tmp_path: Path) -> None:
    folder = Path(ask(server, tmp_path)["folder"])
    blob = (folder / "tokenizer.json").resolve()
    blob.write_bytes(blob.read_bytes().replace(b"a", b"b", 1))
    refused = ask(server, tmp_path)
    assert refused["error"] == "ModelFilesError"
    assert f"Delete {blob}" in refused["message"]
    blob.unlink()
    assert ask(server, tmp_path)["source"] == "hub"
    assert blob.read_bytes() == (server.folder / "tokenizer.json").read_bytes()


def test_what_was_downloaded_is_there_without_the_hub(server: LoopbackHub, tmp_path: Path) -> None:
    """Of a model that nothing pins too: the cache remembers what `main` stood for."""
    first = ask(server, tmp_path)
    assert (first["source"], first["revision"]) == ("hub", COMMIT)
    again = ask(server, tmp_path, offline=True)
    assert (again["source"], again["revision"], again["folder"]) == ("cache", COMMIT, first["folder"])


def test_a_download_cut_in_the_middle_is_not_taken_for_a_model(server: LoopbackHub, tmp_path: Path) -> None:
    server.cut = next(name for name in server.names() if name.startswith("model-00002-of-"))
    broken = ask(server, tmp_path)
    assert broken["error"] == "ModelUnavailableError"
    assert MODEL in broken["message"]
    assert not broken["is here"]
    offline = ask(server, tmp_path, offline=True)
    assert offline["error"] == "ModelUnavailableError"
    server.cut = None
    healed = ask(server, tmp_path)
    assert healed["source"] == "hub"
    assert healed["is here"]
    for name in server.names():
        if name.startswith("model"):
            assert (Path(healed["folder"]) / name).read_bytes() == (server.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", r"the Hub answers with an error \(HTTP 503\): try again later"),
        (b"HTTP/1.0 429 Too Many Requests\r\nRetry-After: 60\r\n\r\n", r"an error \(HTTP 429\)"),
        (b"HTTP/1.0 500 Internal Server Error\r\n\r\n", r"an error \(HTTP 500\)"),
        (b"HTTP/1.0 404 Not Found\r\nX-Error-Code: RevisionNotFound\r\n\r\n", "has no revision 'main'"),
        (b"HTTP/1.0 404 Not Found\r\nX-Error-Code: RepoNotFound\r\n\r\n", "the Hub has no model of that name"),
        (b"HTTP/1.0 403 Forbidden\r\nX-Error-Code: GatedRepo\r\n\r\n", "wants its terms accepted first"),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>Please log in to the Wi-Fi</html>", "the Hub does not answer"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "the Hub does not answer"),
        (b"", "the Hub does not answer"),
    ],
    ids=["503", "429", "500", "no revision", "no repository", "gated", "login page", "nonsense", "hangs up"],
)
def test_no_answer_of_use(answer: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Useless(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Useless) as running:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(ModelUnavailableError, match=f"is not on this machine, and .*{reason}"):
            hub.fetch(MODEL, hub.find_local(MODEL))
        assert hub.hub_answers() is False
        running.shutdown()
