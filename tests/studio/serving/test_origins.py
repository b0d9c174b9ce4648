"""A Studio of this machine is for this machine; behind a proxy, and on a Space, it is for whoever comes there."""

from __future__ import annotations

import os

import pytest

from e5studio.studio.serving.origins import Origins, believed_headers, origins_of, trust_proxy_of_space

LOCAL = Origins(is_local=True)


def refusal(origins, host=None, origin=None, is_mcp=False, server="127.0.0.1"):
    headers = [(b"host", host.encode())] if host else []
    headers += [(b"origin", origin.encode())] if origin else []
    return origins.refusal({"headers": headers, "server": (server, 7860)}, is_mcp)


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "evil.example", "[", "0x7f.1", ""])
def test_a_name_that_resolves_to_this_machine_is_not_this_machine(host):
    headers = [(b"host", host.encode())]
    assert "E5STUDIO_HOSTS" in LOCAL.refusal({"headers": headers}, False)
    assert Origins().refusal({"headers": headers}, False) is None


@pytest.mark.parametrize(
    "host", ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "127.0.0.2", "studio.localhost", None]
)
def test_this_machines_own_names_are_answered(host):
    assert refusal(LOCAL, host, f"http://{host}" if host else None) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "https://localhost.evil.example"])
def test_no_page_of_another_site_works_on_this_machine(origin):
    assert "another site" in refusal(LOCAL, "127.0.0.1:7860", origin)
    assert refusal(Origins(), "127.0.0.1:7860", origin) is None
    assert refusal(Origins(), "127.0.0.1:7860", origin, is_mcp=True)


def test_a_proxy_on_this_machine_serves_it_under_a_name_that_it_was_told(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setenv("E5STUDIO_HOSTS", "studio.example.org, Other.example")
    monkeypatch.setenv("GRADIO_ROOT_PATH", "https://root.example/studio")
    origins = origins_of("127.0.0.1")
    for name in ("studio.example.org", "other.example", "root.example"):
        assert refusal(origins, name, f"https://{name}") is None
    assert refusal(origins, "third.example")


@pytest.mark.parametrize(
    ("host", "environment", "is_local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("0.0.0.0", {}, False),
        ("::", {}, False),
        ("192.168.1.5", {}, False),
        ("127.0.0.1", {"SPACE_ID": "me/studio"}, False),
    ],
)
def test_which_server_is_for_this_machine_only(host, environment, is_local, monkeypatch):
    for name in ("SPACE_ID", "GRADIO_ROOT_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert origins_of(host).is_local is is_local


def believed(client, *headers):
    return dict(believed_headers({"client": client, "headers": list(headers)}))


def test_only_a_proxy_says_under_which_name_the_page_is():
    host = (b"x-forwarded-host", b"studio.example")
    other = (b"accept", b"*/*")
    assert believed(("8.8.8.8", 4000), host, other, (b"x-forwarded-proto", b"https")) == dict([other])
    for proxy in (("127.0.0.1", 4000), ("10.1.2.3", 4000), ("8.8.8.8", 0), None):  # port 0: uvicorn trusts its proxy
        assert believed(proxy, host) == {b"x-forwarded-host": b"studio.example"}


@pytest.mark.parametrize("value", [b"a\tb", b"a b", b"evil/path", b"a@b", b"", b"x" * 300, b"[", b"a:99999999"])
def test_a_name_that_is_none_is_dropped(value):
    assert believed(("127.0.0.1", 1), (b"x-forwarded-host", value)) == {}
    assert believed(("127.0.0.1", 1), (b"x-gradio-server", b"http://evil.example")) == {}


def test_a_space_takes_the_clients_address_from_its_proxy(monkeypatch):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    trust_proxy_of_space()
    assert "FORWARDED_ALLOW_IPS" not in os.environ
    monkeypatch.setenv("SPACE_ID", "me/studio")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "203.0.113.1")
    trust_proxy_of_space()
    assert os.environ["FORWARDED_ALLOW_IPS"] == "203.0.113.1"
