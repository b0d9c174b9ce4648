"""Who a visitor is to the limits, and how much of a limited thing each visitor may take.

A visitor is a client's address where that is a person's own, and a session of the page otherwise: on this machine, and
behind a proxy that the server was not told to trust (uvicorn's FORWARDED_ALLOW_IPS), all have the same address.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from collections.abc import Iterable
from contextvars import ContextVar

from starlette.types import Scope

RUNNING_VISITOR: ContextVar[str | None] = ContextVar("e5studio_visitor", default=None)
"""The visitor whose event or request runs here; `gradio_patches.LeanBlocks` and `request_guard` set it."""

_PREFIX_OF_ONE_PERSON = 64  # of an IPv6 address: the rest is the person's to choose

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def visitor_now() -> str | None:
    """The visitor whose event or request runs here; None outside of both."""
    return RUNNING_VISITOR.get()


def visitor_of(scope: Scope, session: str | None = None) -> str:
    """The visitor of a request.

    Args:
        scope: The request's; uvicorn has put the client's address there, that of X-Forwarded-For from a trusted proxy.
        session: The page's session, where the request names one.
    """
    address = address_of(scope["client"][0]) if scope.get("client") else None
    if address is None or address.is_loopback or (address.is_private and _is_forwarded(scope["headers"])):
        return f"session {session or ''}"
    if address.version == 6:
        return str(ipaddress.ip_network((address, _PREFIX_OF_ONE_PERSON), strict=False))
    return str(address)


def address_of(host: str | None) -> Address | None:
    """A host as an address, IPv4 also where a server that listens on "::" wrote it as IPv6; None for a name."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_forwarded(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"x-forwarded-for" for name, _ in headers)


class Shares:
    """Of a limited amount each visitor may take as much as it leaves to the others.

    One alone gets half, the second a quarter, and there is always room for one more, without a number to choose
    (dynamic thresholds, Choudhury and Hahne, 1998).

    Args:
        limit: The amount.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: Counter[str] = Counter()
        self._total = 0
        self._lock = threading.Lock()

    def take(self, visitor: str, amount: int) -> bool:
        """Take an amount; False if it is more than the visitor's share."""
        with self._lock:
            if not self.has_room(visitor, amount):
                return False
            self._add(visitor, amount)
            return True

    def has_room(self, visitor: str, amount: int) -> bool:
        """Whether an amount is within the visitor's share."""
        return self._taken.get(visitor, 0) + amount <= self._limit - self._total - amount

    def add(self, visitor: str, amount: int) -> None:
        """Count an amount whatever the share, or below zero return what was taken."""
        with self._lock:
            self._add(visitor, amount)

    def of(self, visitor: str) -> int:
        """What a visitor has taken."""
        return self._taken.get(visitor, 0)

    @property
    def total(self) -> int:
        """What all visitors have taken."""
        return self._total

    def _add(self, visitor: str, amount: int) -> None:
        self._total += amount
        self._taken[visitor] += amount
        if not self._taken[visitor]:
            del self._taken[visitor]  # a visitor without anything is not remembered
