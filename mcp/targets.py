"""Which servers the gateway may be sent to by a URL from a user (pure).

A URL is judged twice: what it says, before anything is asked, and each address that its name leads
to, at the moment of connecting. Only what the operator allows may be private or without TLS.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from accounts.networks import is_off_limits, is_public

MAX_URL_CHARS = 500  # the column's
FIRST_FREE_PORT = 1024  # below it stand mail, directories and the like; of these only the web's
WEB_PORTS = {"http": 80, "https": 443}
MAX_ENTRIES = 64  # of the operator's list; each is looked at for each connection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Narrower than any client's own reading, so that no two can differ about which host it names.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?][a-z0-9._~!$&'()*+,;=:@/?%-]*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # as the last label: systems count with it


class BadTargetError(Exception):
    """The gateway will not go there. The text says why, and what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What may be private and without TLS: hosts by name, with a port or any, and networks."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that says nothing wrong. Where its name leads is another question."""

    scheme: str
    host: str  # a name in lower case, or an address without brackets
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """What stands in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == WEB_PORTS[self.scheme]
        return host if is_usual else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The same URL in one form for all ways of writing it."""
        return f"{self.scheme}://{self.authority}{self.path}"


def allowed(entries: Sequence[str]) -> Allowed | str:
    """The operator's list: `host`, `host:port` or a network; or what is wrong with it."""
    if len(entries) > MAX_ENTRIES:
        return f"at most {MAX_ENTRIES} entries"
    hosts, networks = set(), []
    for entry in entries:
        try:
            if "/" in entry:
                networks.append(ipaddress.ip_network(entry))
            else:
                hosts.add(_host_and_port(entry.lower()))
        except ValueError as error:
            return f"{entry!r} is no host, host:port or network ({error})"
    return Allowed(hosts=frozenset(hosts), networks=tuple(networks))


def checked(url: str, allow: Allowed) -> Target:
    """What a URL says, once nothing is wrong with it. Raises BadTargetError."""
    target = _parsed(url)
    if _is_address(target.host):
        judge(target, target.host, allow)
    elif target.scheme == "http" and not (_is_named(target, allow) or allow.networks):
        raise BadTargetError("The address must begin with https://.")
    return target


def judge(target: Target, address: str, allow: Allowed) -> None:
    """Raise BadTargetError unless the gateway may connect to `address` for this target."""
    if is_off_limits(address):
        raise _not_public()
    if _is_named(target, allow):
        return
    if target.port not in WEB_PORTS.values() and target.port < FIRST_FREE_PORT:
        raise BadTargetError(f"Port {target.port} is not one of a web server.")
    if _is_within(address, allow.networks):
        return
    if not is_public(address):
        raise _not_public()
    if target.scheme != "https":
        raise BadTargetError("The address must begin with https://.")


def _parsed(url: str) -> Target:
    if len(url) > MAX_URL_CHARS:
        raise BadTargetError(f"The address has more than {MAX_URL_CHARS} characters.")
    if "#" in url:
        raise BadTargetError("The address must have no fragment (#).")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise BadTargetError("The address must hold no credential: it has a field of its own.")
    found = _URL.fullmatch(url)
    if found is None:
        raise BadTargetError(
            "The address must look like https://host/path, in plain ASCII, "
            "an international name in its form with xn--."
        )
    scheme, host, path = found["scheme"].lower(), found["host"].lower(), found["path"] or "/"
    try:
        host = _host(host.strip("[]") if host.startswith("[") else host)
        port = _port(found["port"]) if found["port"] else WEB_PORTS[scheme]
    except ValueError as error:
        raise BadTargetError(f"The address names no host that can be asked: {error}.") from error
    return Target(
        scheme=scheme, host=host, port=port, path=path if path.startswith("/") else f"/{path}"
    )


def _host(text: str) -> str:
    """A host name, or an address in its usual form. Raises ValueError."""
    if ":" in text:
        return str(ipaddress.IPv6Address(text))
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return str(ipaddress.IPv4Address(text))  # four decimal numbers and nothing else
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{text!r} is no host name")
    return text


def _port(digits: str) -> int:
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError("a port is from 1 to 65535")
    return port


def _host_and_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an address in brackets, then a port or nothing")
        return _host(host), _digits(rest[1:]) if rest else None
    if entry.count(":") == 1:
        host, _, digits = entry.partition(":")
        return _host(host), _digits(digits)
    return _host(entry), None


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise ValueError("no port")
    return _port(text)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_named(target: Target, allow: Allowed) -> bool:
    return bool(allow.hosts & {(target.host, None), (target.host, target.port)})


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def _not_public() -> BadTargetError:
    # The same text as for a name that nobody knows: it must not map the operator's network.
    return BadTargetError(
        "The host of the address is not known on the internet. A private one must be listed by"
        " the gateway's operator, in OPSCENTER_MCP_HTTP_ALLOW."
    )


UNKNOWN_HOST = str(_not_public())
