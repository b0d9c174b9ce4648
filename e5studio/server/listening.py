"""The socket of the server: bound before the models are loaded, so that a port that is taken is said at once.

It listens when they are, so that nobody connects to a server that does not answer.
"""

from __future__ import annotations

import os
import socket

from e5studio.errors import E5StudioError


class AddressError(E5StudioError, OSError):
    """The server cannot listen there."""


def bind(host: str, port: int) -> socket.socket:
    """A socket with an address.

    Raises:
        AddressError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AddressError(
            f"The server cannot listen on {host}, port {port}: {error.strerror or error}.",
            "Take another --port, or a --host of this machine.",
        ) from error
    return listener
