"""The socket that the page is served at, bound before anything is loaded: a port that is taken ends a start at once."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Any

from e5studio.errors import E5StudioError

USUAL_PORT = 7860  # Gradio's
LAST_PORT = 65_535
_PORTS_TRIED = 100
_LOOPBACK = "127.0.0.1"
_HOST_VARIABLE, _PORT_VARIABLE = "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"
_BACKLOG = 2048  # as uvicorn's


class AddressError(E5StudioError, OSError):
    """The page cannot be served at this address or port."""


@dataclass(frozen=True)
class BoundAddress:
    """Where the page will be served; connections wait until it is.

    Attributes:
        socket: Bound, and listening.
        url: For a browser on this machine.
        wanted_port: The port that was tried first.
    """

    socket: socket.socket
    url: str
    wanted_port: int

    def __enter__(self) -> BoundAddress:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def port(self) -> int:
        """The port."""
        return int(self.socket.getsockname()[1])


def bind(host: str | None = None, port: int | None = None) -> BoundAddress:
    """Bind the address of the page, of IPv4 or IPv6.

    Args:
        host: A name or an address, an IPv6 one with or without brackets; GRADIO_SERVER_NAME, or this machine only, if
            None.
        port: The port; the first free one from GRADIO_SERVER_PORT, or 7860, if None.

    Raises:
        AddressError: The port is taken or not a port, or the address is not this machine's.
    """
    name = host or os.environ.get(_HOST_VARIABLE) or _LOOPBACK
    option = "--host" if host else _HOST_VARIABLE
    ports = range(port, port + 1) if port is not None else _ports()
    family, address = _resolve(name, option)
    for each in ports:
        try:
            listening = _listen(family, (address[0], each, *address[2:]))
        except (OSError, OverflowError) as error:  # OverflowError: no number of a port
            if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES) and each != ports[-1]:
                continue
            raise _refusal(error, name, option, ports) from error
        url = f"http://{_in_url(name, address[0])}:{each or listening.getsockname()[1]}/"
        return BoundAddress(listening, url, ports[0])
    raise AssertionError("there is always a port to try")


def _ports() -> range:
    value = os.environ.get(_PORT_VARIABLE, "").strip()
    if value and not (value.isdecimal() and 1 <= int(value) <= LAST_PORT):
        raise AddressError(
            f"{_PORT_VARIABLE}={value!r} is no port.", f"Set it to a number from 1 to {LAST_PORT}, or unset it."
        )
    first = int(value) if value else USUAL_PORT
    return range(first, min(first + _PORTS_TRIED, LAST_PORT + 1))


def _resolve(name: str, option: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The family of an address or name, and the address as a socket takes it."""
    bare = _without_brackets(name)
    try:
        if not bare:  # or it would stand for all addresses
            raise OSError("an empty name")
        resolved = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _no_address(name, option) from error
    # A name such as localhost may have addresses of both families; every program knows that of IPv4.
    family, _, _, _, address = min(resolved)
    return family, address


def _listen(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=both)


def _without_brackets(name: str) -> str:
    return name.strip().removeprefix("[").removesuffix("]")


def _in_url(name: str, address: str) -> str:
    """The host of a URL that a browser on this machine can open."""
    if address == "0.0.0.0" or (address == "::" and socket.has_dualstack_ipv6()):
        return "localhost"
    host = "::1" if address == "::" else _without_brackets(name)
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def _refusal(error: OSError | OverflowError, name: str, option: str, ports: range) -> AddressError:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return _no_address(name, option)
    why = {errno.EADDRINUSE: "it is taken", errno.EACCES: "it is not open to you"}.get(code or 0, str(error))
    if len(ports) == 1:
        return AddressError(f"Port {ports[0]} cannot be used at {name}: {why}.", "Choose another with --port.")
    return AddressError(
        f"No port from {ports[0]} to {ports[-1]} can be used at {name}: the last says that {why}.",
        "Choose one with --port, or another address with --host.",
    )


def _no_address(name: str, option: str) -> AddressError:
    return AddressError(
        f"{option} {name} is no address of this machine.", "Take 127.0.0.1 for this machine only, or 0.0.0.0 for all."
    )
