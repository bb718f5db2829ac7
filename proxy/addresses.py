"""Which network addresses an upstream may have: none that only the machine's own cloud answers."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds hand credentials to whoever asks from inside: AWS and most others are link-local.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS over IPv6
            "fd20:ce::254",  # Google over IPv6
        ),
    )
)
# IPv6 addresses that end in an IPv4 one: NAT64 (RFC 6052, RFC 8215) and SIIT (RFC 2765).
_NAT64 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")


def is_off_limits(text: str) -> bool:
    """Whether an IP address is link-local, a cloud's metadata service, or nobody's."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return True
    address = _unwrapped(address)
    return (
        address in _METADATA
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address.is_reserved)
        or (address.version == 6 and address in _SITE_LOCAL)
    )


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        # ::1 is itself; all else below 2**32 is an IPv4 address in its oldest disguise.
        return address if address.is_loopback else ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


@lru_cache(maxsize=1024)  # asked before every request, of a few upstreams
def literal_off_limits(url: str) -> bool:
    """Whether a URL names such an address itself. A name is judged when it is looked up."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # Digits alone, of whichever script, are never a name: systems read 2852039166 as
        # 169.254.169.254, and HTTP clients do not look up what they take for an address.
        return host.replace(".", "").isdigit()
    return is_off_limits(host)
