"""Which addresses a data set may name: a table from elsewhere must not make this machine read what it should not."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import urlsplit

from classifier_training.data.sources.address import is_remote

ALLOWED_SCHEMES: Final = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf")
_LOCAL_SCHEMES: Final = {"file", "local"}
_WEB: Final = {"http", "https"}
_LOCAL_NAMES: Final = (".localhost", ".local", ".internal", ".localdomain")
_CARRIERS_OF_IPV4: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_address(named: str, source: str) -> str | None:
    """Why a data set may not name an address or a path; None: it may.

    Allowed are `ALLOWED_SCHEMES` and the scheme and host of the data set itself. A data set from elsewhere may name
    no file of this machine, and no host of the network that this machine is in.

    Args:
        named: What a cell names: a path, or an address.
        source: The data set, a path or an address.

    Returns:
        The end of a sentence that begins with the cell.
    """
    is_foreign = not is_of_this_machine(source)
    if "::" in named and (is_foreign or is_remote(named)) and _ipv6(named) is None:
        return "chains addresses with '::', which a data set may not do; name the file itself"
    if not is_remote(named):
        return None
    scheme = named.partition("://")[0].lower()
    if origin(named) == origin(source):
        return None
    if scheme in _LOCAL_SCHEMES and not is_foreign:
        return None
    if scheme not in ALLOWED_SCHEMES:
        what = "is a file of this machine" if scheme in _LOCAL_SCHEMES else f"has the scheme {scheme}"
        allowed = ", ".join(ALLOWED_SCHEMES)
        return f"{what}, which a data set may not name; allowed are {allowed} and its own scheme and host"
    if is_foreign and scheme in _WEB and _is_private_name(host_of(named)):
        return f"names the host {host_of(named)}, which is private to this machine or its network; it is not read"
    return None


def is_of_this_machine(source: str) -> bool:
    """Whether a path or an address is a file of this machine."""
    return not is_remote(source) or ("::" not in source and source.partition("://")[0].lower() in _LOCAL_SCHEMES)


def origin(address: str) -> tuple[str, str] | None:
    """Scheme and host, or bucket, of an address, without the user; None: it is a path, or a chain."""
    if not is_remote(address) or ("::" in address and _ipv6(address) is None):
        return None
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0].partition("\\")[0]
    return scheme.lower(), host.rpartition("@")[2].lower() if scheme.lower() in _WEB else host.lower()


def web_origins(address: str) -> dict[str, str]:
    """The addresses of the web servers that an address leads to, chained or not, by scheme, without the user."""
    links = [link for link in address.split("::") if link.partition("://")[0].lower() in _WEB]
    # an IPv6 host holds "::" itself
    found = [origin(address)] if _ipv6(address) is not None else [origin(link) for link in links]
    return {scheme: f"{scheme}://{host}/" for scheme, host in filter(None, found)}


def host_of(address: str) -> str:
    """The host of a web address; empty where it has none."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_private(address: Address) -> bool:
    """Whether an address is of this machine, of its network, or of no use to the public."""
    if isinstance(address, ipaddress.IPv6Address):
        carried = [address.ipv4_mapped, address.sixtofour, (address.teredo or (None, None))[1]]
        if any(address in network for network in _CARRIERS_OF_IPV4):
            carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner = next(filter(None, carried), None)
        if inner is not None:
            return is_private(inner)
    return not address.is_global or address.is_multicast


def guarded_sockets(source: str) -> Callable[[Any], socket.socket]:
    """Makes sockets for what a data set from elsewhere consists of or names: none to a private address but its own.

    It is called with the address that is connected to, after names were resolved and redirects followed. Where the
    data set itself is fetched from is allowed, also by https where it is given by http.
    """
    own = _sockets_of(source)

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, where = info
        if is_private(ipaddress.ip_address(str(where[0]).partition("%")[0])) and (where[0], where[1]) not in own:
            what = f"it leads to {where[0]}, which is private to this machine or its network"
            raise PrivateHostError(f"{what}; only data.root itself may name such a host")
        return socket.socket(family, kind, protocol)

    return make


class PrivateHostError(Exception):
    """A connection that a data set may not ask for; no `OSError`, which would be tried again."""


def _sockets_of(source: str) -> Collection[tuple[str, int]]:
    """Addresses and port of the web server that a data set comes from."""
    if source.partition("://")[0].lower() not in _WEB:
        return ()
    try:
        parts = urlsplit(source)
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return ()
    hosts = {str(info[4][0]) for info in found}
    ports = {port, 443} if (parts.scheme.lower(), port) == ("http", 80) else {port}
    return {(host, each) for host in hosts for each in ports}


def _is_private_name(host: str) -> bool:
    """Whether a host is named by a private address in any notation, or by a name of this machine."""
    if not host or f".{host}".endswith(_LOCAL_NAMES):
        return True
    found: Address | None = _ipv6(f"http://[{host}]/") if ":" in host else None
    if found is None:
        try:
            found = ipaddress.ip_address(socket.inet_aton(host))  # also 127.1, 0x7f000001, 2130706433
        except (OSError, UnicodeError):
            return False
    return is_private(found)


def _ipv6(address: str) -> ipaddress.IPv6Address | None:
    """The numeric host of an address such as ``http://[::1]/``; None: it has none, or chains another address."""
    rest = address.partition("://")[2]
    netloc, _, path = rest.partition("/")
    host, bracket, _ = netloc.rpartition("@")[2].partition("]")
    if not bracket or not host.startswith("[") or "::" in path or "::" in address.partition("://")[0]:
        return None
    try:
        return ipaddress.IPv6Address(host[1:].partition("%")[0])
    except ValueError:
        return None
