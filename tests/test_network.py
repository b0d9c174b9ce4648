"""Every setting of the host with which a download cannot work is named, and its password is not."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http as client

from e5studio import hub, network
from e5studio.download_progress import ProgressListener
from e5studio.errors import ModelUnavailableError

ENDPOINT = "https://hub.example"
MODEL = "somebody/a-model"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets the host's variables, of which there are none at first."""
    for name in (*VARIABLES, *map(str.upper, VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", ENDPOINT)
    client.close_session()  # or it would have the variables of its first use

    def set_variables(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        if "HF_ENDPOINT" in values:  # which the client reads at its import
            monkeypatch.setattr(constants, "ENDPOINT", values["HF_ENDPOINT"])

    yield set_variables
    client.close_session()


def message_of_a_download() -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        hub.fetch(MODEL, None)
    assert caught.value.fact == f"{MODEL} is not on this machine, and the Hub does not answer."
    return str(caught.value)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"HF_ENDPOINT": "hf-mirror.example"}, "HF_ENDPOINT='hf-mirror.example' is no address: write it as https://"),
        ({"HF_ENDPOINT": "https://mirror:port"}, "HF_ENDPOINT='https://mirror:port' is no address"),
        ({"HF_ENDPOINT": "ftp://mirror"}, "HF_ENDPOINT='ftp://mirror' is no address"),
        ({"HTTPS_PROXY": "http://proxy:abc"}, "HTTPS_PROXY='http://proxy:abc' is no address of a proxy: write it as"),
        ({"https_proxy": "http://proxy:99999"}, "https_proxy='http://proxy:99999' is no address of a proxy"),
        ({"ALL_PROXY": "socks4://proxy:1080"}, "ALL_PROXY='socks4://proxy:1080' is no address of a proxy"),
        ({"HTTP_PROXY": "http://[::1:3128"}, "HTTP_PROXY='http://[::1:3128' is no address of a proxy"),
        ({"HTTP_PROXY": "http://"}, "HTTP_PROXY='http://' is no address of a proxy"),
        ({"SSL_CERT_FILE": "/nowhere/corp.pem"}, "SSL_CERT_FILE='/nowhere/corp.pem' (No such file or directory): corr"),
        ({"SSL_CERT_FILE": "/"}, "from SSL_CERT_FILE='/' ("),
        ({"SSL_CERT_FILE": __file__}, f"from SSL_CERT_FILE={__file__!r} (it holds none): correct the name"),
    ],
)
def test_a_setting_that_no_client_can_use_is_named(
    variables: dict[str, str], sentence: str, host: Callable[..., None]
) -> None:
    host(**variables)
    assert sentence in message_of_a_download()
    assert hub.hub_answers() is False


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_names_the_package_that_it_needs(
    scheme: str, host: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda _: None)
    host(HTTPS_PROXY=f"{scheme}://127.0.0.1:1080")
    assert f"HTTPS_PROXY='{scheme}://127.0.0.1:1080' is a SOCKS proxy, for which" in message_of_a_download()
    assert "pip install socksio" in message_of_a_download()


def test_a_proxy_that_nobody_answers_at_is_named_without_its_password(host: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    host(HTTPS_PROXY=f"http://me:secret@127.0.0.1:{port}")
    message = message_of_a_download()
    assert f"The request goes to {ENDPOINT} through the proxy of HTTPS_PROXY (http://127.0.0.1:{port})." in message
    assert "secret" not in message
    host(HTTPS_PROXY="http://me:secret@127.0.0.1:abc")
    assert "secret" not in message_of_a_download()


def test_a_proxy_that_refuses_says_how(host: Callable[..., None]) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_error(407, "Proxy Authentication Required")

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        host(HTTPS_PROXY=f"http://127.0.0.1:{proxy.server_port}")
        message = message_of_a_download()
        proxy.shutdown()
    assert f"the proxy of HTTPS_PROXY (http://127.0.0.1:{proxy.server_port}), which does not let it" in message
    assert "407" in message


def test_an_address_that_needs_no_proxy_does_not_name_one(host: Callable[..., None]) -> None:
    host(HTTPS_PROXY="http://127.0.0.1:9", NO_PROXY="hub.example")
    assert network.cause_of(httpx.ConnectError("refused"), ENDPOINT) == ""
    host(HF_ENDPOINT="https://hub.example")
    assert network.cause_of(httpx.ConnectError("refused"), ENDPOINT) == f"The request goes to {ENDPOINT}."


def test_an_unreadable_entry_of_no_proxy_is_named(host: Callable[..., None]) -> None:
    """Older clients refuse such entries; newer ones pass over them."""
    host(NO_PROXY="localhost,[::1]")
    sentence = network.cause_of(httpx.InvalidURL("Invalid port: ':1]'"), ENDPOINT)
    assert sentence == "NO_PROXY has an entry that the Hub's client cannot read (Invalid port: ':1]'): correct it."


def test_a_certificate_that_is_not_trusted_names_the_variable_that_is_read(host: Callable[..., None]) -> None:
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate in certificate chain"
    error = httpx.ConnectError("connection failed")
    error.__cause__ = untrusted
    host(REQUESTS_CA_BUNDLE="/etc/corp.pem")  # which only other clients read
    sentence = network.cause_of(error, ENDPOINT)
    assert sentence.startswith("The certificate of hub.example is not trusted here (self-signed certificate in")
    assert "let SSL_CERT_FILE name the file" in sentence


@pytest.mark.parametrize(
    "variables",
    [
        {"SSL_CERT_FILE": "/nowhere/corp.pem"},
        {"ALL_PROXY": "socks4://127.0.0.1:1080"},
        {"HTTPS_PROXY": "http://proxy:abc", "NO_PROXY": "localhost"},
        {"NO_PROXY": "http://[::1"},
    ],
)
def test_a_package_is_imported_without_settings_that_it_cannot_read(
    variables: dict[str, str], host: Callable[..., None]
) -> None:
    host(**variables)
    assert not network.are_settings_readable(lambda: httpx.Client().close())
    with network.without_settings():
        assert network.are_settings_readable(lambda: httpx.Client().close())
    assert variables.items() <= os.environ.items()


def test_whatever_the_client_raises_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Data processing error: CAS service error")  # as the Hub's part in Rust

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    assert message_of_a_download()


def test_who_stops_a_download_is_not_taken_for_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stopped

    def download(_: str, *, tqdm_class: type, **options: object) -> None:
        try:
            with tqdm_class(total=10, unit="B") as bar:
                bar.update(4)
        except Stopped as error:
            raise RuntimeError("a worker failed") from error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: Info())
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr(hub, "_check_downloadable", lambda *_: None)
    with pytest.raises(Stopped):
        hub.fetch(MODEL, None, progress=stop)


class Info:
    siblings: tuple[()] = ()
    sha = "0" * 40


def test_a_stream_that_can_only_write_gets_no_bar_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    class Logger:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            return None

    for stream in (Logger(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        listener = ProgressListener.of(None)
        assert listener is not None
        with listener.bar()(total=10, unit="B") as bar:
            bar.update(10)


def test_the_hubs_client_sends_and_fetches_nothing_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    network.send_no_telemetry()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
