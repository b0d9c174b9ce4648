"""Which hosts and which pages of other sites may use a Studio, and which headers of a proxy are believed.

A name that an attacker owns may resolve to this machine (DNS rebinding), so that a browser here takes the attacker's
page and this Studio for one site. A Studio that listens on this machine only answers to this machine's names only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from e5studio.studio.serving.visitors import address_of

HOSTS_VARIABLE = "E5STUDIO_HOSTS"
"""Names, separated by commas, under which a proxy on this machine serves a Studio that listens on this machine only."""

_HOST = re.compile(rb"[\w.\-]{1,253}(:\d{1,5})?|\[[\da-fA-F:.]{2,45}\](:\d{1,5})?")
_PRIVATE_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")
_OF_A_PROXY = (b"x-forwarded-host", b"x-forwarded-proto")
_OF_NOBODY = b"x-gradio-server"  # of Gradio's share links, which are never made


@dataclass(frozen=True)
class Origins:
    """Who may use a Studio.

    Attributes:
        is_local: Whether it listens on this machine only.
        hosts: Other names than this machine's under which it is served all the same.
    """

    is_local: bool = False
    hosts: frozenset[str] = frozenset()

    def refusal(self, scope: Scope, is_mcp: bool) -> str | None:
        """Why a request is refused for its host or its page; None if it is not.

        The MCP protocol forbids foreign pages also where the server listens on more addresses than this machine's.
        """
        if self.is_local and not self._may(_header(scope, b"host"), is_url=False):
            return (
                "This Studio answers under this machine's own names only, such as localhost. To serve it under another "
                f"through a proxy, start it with {HOSTS_VARIABLE}=that.name in the environment."
            )
        is_reached_here = bool(scope.get("server")) and is_this_machine(scope["server"][0])
        is_guarded = self.is_local or (is_mcp and is_reached_here)
        if is_guarded and not self._may(_header(scope, b"origin"), is_url=True):
            return "A page of another site may not use this Studio through your browser."
        return None

    def _may(self, value: bytes | None, is_url: bool) -> bool:
        """Whether a host, or a page of it, may use this Studio; programs name none."""
        if value is None:
            return True
        try:
            host = urlsplit(("" if is_url else "//") + value.decode("latin-1")).hostname
        except ValueError:  # no address
            return False
        return is_this_machine(host) or (host is not None and host in self.hosts)


def origins_of(host: str) -> Origins:
    """Who may use a Studio that listens on an address, by the environment; on a Space it is everybody.

    Args:
        host: The IP address of the socket.
    """
    is_local = is_this_machine(host) and not os.environ.get("SPACE_ID")
    names = [name.strip().lower() for name in os.environ.get(HOSTS_VARIABLE, "").split(",")]
    root = urlsplit(os.environ.get("GRADIO_ROOT_PATH", "")).hostname
    return Origins(is_local, frozenset(filter(None, [*names, root])))


def trust_proxy_of_space() -> None:
    """On a Space, have uvicorn take the client's address from the Space's proxy, which is in its own network."""
    if os.environ.get("SPACE_ID"):
        os.environ.setdefault("FORWARDED_ALLOW_IPS", ",".join(_PRIVATE_NETWORKS))


def believed_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers without those by which a client would choose the page's own address.

    Proxies are believed if they are in this machine's network, or if uvicorn was told to trust them: then it has put
    their client into the scope, with port 0.
    """
    client = scope.get("client")
    address = address_of(client[0]) if client else None
    is_from_proxy = client is None or client[1] == 0 or (address is not None and address.is_private)
    return list(_believed(scope["headers"], is_from_proxy))


def is_this_machine(host: str | None) -> bool:
    """Whether a host is a name or an address of this machine for itself."""
    if host is not None and (host == "localhost" or host.endswith(".localhost")):
        return True
    address = address_of(host)
    return address is not None and address.is_loopback


def _believed(headers: Iterable[tuple[bytes, bytes]], is_from_proxy: bool) -> Iterable[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == _OF_NOBODY or (name in _OF_A_PROXY and not is_from_proxy):
            continue
        if name == b"x-forwarded-host" and not _HOST.fullmatch(value.split(b",")[0].strip()):
            continue
        yield name, value


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)
