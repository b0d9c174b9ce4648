"""The address is bound at once, of either family, or one sentence says why not."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import pytest

from e5studio.studio.serving import address
from e5studio.studio.serving.address import AddressError, bind

has_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as other:
        return other.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (None, "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "localhost"),
        *(
            pytest.param(*names, marks=has_ipv6)
            for names in [("::1", "[::1]"), ("[::1]", "[::1]"), ("0:0::1", "[0:0::1]"), ("::", "localhost")]
        ),
    ],
)
def test_a_browser_on_this_machine_reaches_it(host, shown):
    port = free_port()
    with bind(host, port) as bound:
        assert bound.url == f"http://{shown}:{port}/"
        with socket.create_connection((urlsplit(bound.url).hostname, port), timeout=10):
            assert bound.port == bound.wanted_port == port


@has_ipv6
def test_all_addresses_of_ipv6_are_those_of_ipv4_too():
    with bind("::", free_port()) as bound, socket.create_connection(("127.0.0.1", bound.port), timeout=10):
        pass


def test_the_next_free_port_is_taken_where_none_is_named(monkeypatch):
    with bind() as first, bind() as second:
        assert first.wanted_port == second.wanted_port == 7860
        assert second.port > first.port
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(first.port))
        with bind() as third:
            assert third.wanted_port == first.port < third.port


def test_the_environment_names_the_address(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    with bind(port=free_port()) as bound:
        assert bound.socket.getsockname()[0] == "0.0.0.0"
    with bind("127.0.0.1", free_port()) as bound:
        assert bound.socket.getsockname()[0] == "127.0.0.1"


def test_a_port_that_another_program_has_on_all_addresses_is_taken():
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressError, match=f"Port {port} cannot be used at 127.0.0.1: it is taken. Choose another"):
            bind("127.0.0.1", port)


def test_no_free_port_at_all(monkeypatch):
    monkeypatch.setattr(address, "_PORTS_TRIED", 1)
    with bind(port=free_port()) as bound:
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(bound.port))
        with pytest.raises(AddressError, match=f"^Port {bound.port} cannot be used"):
            bind()


@pytest.mark.parametrize("host", ["nobody.invalid", "http://localhost", "[]", " ", "192.0.2.1", "a" * 300, "::1::"])
def test_an_address_of_another_machine_or_none(host, monkeypatch):
    with pytest.raises(AddressError, match=r"^--host .* is no address of this machine\. Take 127\.0\.0\.1"):
        bind(host, 0)
    monkeypatch.setenv("GRADIO_SERVER_NAME", host)
    with pytest.raises(AddressError, match=r"^GRADIO_SERVER_NAME .* is no address of this machine"):
        bind()


@pytest.mark.parametrize("value", ["http", "0", "-1", "65536", "7860.0", "9" * 30])
def test_the_environment_names_no_port(value, monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_PORT", value)
    with pytest.raises(AddressError, match=f"GRADIO_SERVER_PORT='{value}' is no port. Set it to a number from 1"):
        bind()
    with bind(port=free_port()):
        pass


def test_connections_wait_until_the_page_is_served():
    with bind(port=free_port()) as bound:
        connection = http.client.HTTPConnection("127.0.0.1", bound.port, timeout=10)
        connection.request("GET", "/")
        accepted, _ = bound.socket.accept()
        with accepted:
            accepted.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
        assert connection.getresponse().status == 204
        connection.close()
