"""Why a download fails: the host's settings for proxies and certificates, and the Hub's address, explained afterwards.

Settings are looked at when a download has failed, so that one which nobody uses stops nothing. This module connects to
nothing.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_SETTINGS = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"}


def send_no_telemetry() -> None:
    """Have the Hub's client fetch what is asked for, and nothing of its own; must run before it is imported.

    By default it names the versions of other packages in each request, and fetches a list of the agents whose use it
    reports.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def cause_of(error: BaseException, endpoint: str) -> str:
    """Sentences for the host of the program: why a request did not reach the Hub, and what to change; or nothing.

    Args:
        error: What the Hub's client raised.
        endpoint: The Hub's address.
    """
    setting = unusable_setting(endpoint)
    if setting:
        return setting
    causes = list(_causes(error))
    refusal = next((cause for cause in causes if type(cause).__name__ == "ProxyError"), None)
    if refusal is not None:
        return f"The request goes{route(endpoint)}, which does not let it through: {refusal}."
    for cause in causes:
        if type(cause).__name__ == "InvalidURL" and _variable("no_proxy"):
            return f"{_variable('no_proxy')} has an entry that the Hub's client cannot read ({cause}): correct it."
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {urlsplit(endpoint).hostname} is not trusted here ({cause.verify_message}): let "
                "SSL_CERT_FILE name the file that holds your network's certificates."
            )
        if isinstance(cause, socket.gaierror):
            return f"The request goes{route(endpoint)}, and a name in it is not known here: {cause.strerror}."
    return f"The request goes{route(endpoint)}." if _proxy_of(endpoint) or os.environ.get("HF_ENDPOINT") else ""


def unusable_setting(endpoint: str) -> str | None:
    """The first of the host's settings with which no client can work, and what to do; None where all can be used."""
    if not _is_address(endpoint, ("http", "https")):
        return f"HF_ENDPOINT={endpoint!r} is no address: write it as https://host."
    for scheme in ("http", "https", "all"):
        variable = _variable(f"{scheme}_proxy")
        fault = _proxy_fault(os.environ[variable]) if variable else None
        if variable and fault:
            return f"{variable}={_without_password(os.environ[variable])!r} {fault}"
    return _unusable_certificates()


def are_settings_readable(make_client: Callable[[], object]) -> bool:
    """Whether an HTTP library can make a client with the host's settings for proxies and certificates."""
    try:
        make_client()
    except Exception:  # each library has its own for each setting
        return False
    return True


@contextmanager
def without_settings() -> Iterator[None]:
    """Hide the host's settings for proxies and certificates from a package that makes a client at its import."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.lower() in _SETTINGS}
    try:
        yield
    finally:
        os.environ.update(hidden)


def route(endpoint: str) -> str:
    """Where a request goes, to stand after "goes": " to https://huggingface.co through the proxy of HTTPS_PROXY"."""
    proxy = _proxy_of(endpoint)
    return f" to {endpoint}" + (f" through the proxy of {proxy}" if proxy else "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _proxy_of(endpoint: str) -> str | None:
    """The variable that names the proxy of an address, with the proxy: "HTTPS_PROXY (proxy.example:3128)"."""
    parts = urlsplit(endpoint)
    variable = _variable(f"{parts.scheme}_proxy") or _variable("all_proxy")
    if variable is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return f"{variable} ({_without_password(os.environ[variable])})"


def _unusable_certificates() -> str | None:
    """Why the certificates that the environment names cannot be read; None where they can, or none are named."""
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return None
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # SSL's own errors are of this kind, too
        why = "it holds none" if isinstance(error, ssl.SSLError) else error.strerror
        return f"No certificates can be read from SSL_CERT_FILE={file!r} ({why}): correct the name, or unset it."
    return None


def _proxy_fault(value: str) -> str | None:
    """What is wrong with the address of a proxy."""
    address = value if "://" in value else f"http://{value}"
    if not _is_address(address, _PROXY_SCHEMES):
        return "is no address of a proxy: write it as http://host:port, https://host:port or socks5://host:port."
    if address.startswith("socks") and importlib.util.find_spec("socksio") is None:
        return "is a SOCKS proxy, for which a package is missing: pip install socksio."
    return None


def _is_address(address: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False


def _variable(name: str) -> str | None:
    """The variable of the environment that is in force: the name in small letters goes before that in capitals."""
    return next((each for each in (name, name.upper()) if os.environ.get(each)), None)


def _without_password(address: str) -> str:
    scheme, separator, rest = address.rpartition("://") if address.count("://") == 1 else ("", "", address)
    return scheme + separator + rest.rpartition("@")[2]
