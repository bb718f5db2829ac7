"""Whose request it is by address: the peer's word, or that of the proxies we trust (pure)."""

import ipaddress
from collections.abc import Iterable

IPV6_PREFIX = 64  # what one subscriber gets; counted singly, one machine would be 2**64 clients
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ENTRY_CHARS = 64  # an IPv6 address with brackets, zone and port has fewer; more is no address


def client_of(peer: str, forwarded: Iterable[str], trusted_proxies: int) -> str:
    """What a client is counted by: its IPv4 address, or the /64 of its IPv6 address.

    `forwarded` are the values of all X-Forwarded-For lines, in their order. Each proxy adds at the
    right the address that it saw, so the n-th entry from the right is what the outermost of n
    trusted ones saw; whatever stands left of it came from outside and may say anything. Where
    that entry is missing or no address, the peer's counts. Empty: there is none at all.
    """
    found = _entry(forwarded, trusted_proxies) if trusted_proxies else None
    return _counted_as(found or _address(peer))


def _entry(forwarded: Iterable[str], trusted_proxies: int) -> Address | None:
    # From the right, so that a header of many entries costs no more than one of a few.
    entries = ",".join(forwarded).rsplit(",", trusted_proxies)
    return _address(entries[-trusted_proxies]) if len(entries) >= trusted_proxies else None


def _address(text: str) -> Address | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    text = text.strip(" \t")
    if len(text) > ENTRY_CHARS:
        return None
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or not _is_port(port):
            return None
    elif text.count(":") == 1:
        text, _, digits = text.partition(":")
        if not _is_port(f":{digits}"):
            return None
    try:
        # A zone only says through which of its own interfaces a machine reached its neighbour.
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isascii() and text[1:].isdecimal())


def _counted_as(address: Address | None) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
    return str(address) if address else ""
