"""What an IP address leads to: the internet, a private network, a cloud itself (pure)."""

import ipaddress

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
_WELL_KNOWN_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64 = (
    _WELL_KNOWN_NAT64,
    *map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::ffff:0:0:0/96")),
)
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")

# IANA's lists of special addresses, not Python's: those differ from one release to the next.
_NOT_PUBLIC_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast and reserved
        ),
    )
)
_UNICAST_6 = ipaddress.IPv6Network("2000::/3")  # all that has been given out so far
_NOT_PUBLIC_6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # Teredo and other tunnels
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)


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


def is_public(text: str) -> bool:
    """Whether an IP address is one machine's on the internet, and says so without a disguise.

    Of the disguises only two are read: IPv4 mapped into IPv6, and the well-known NAT64, which
    networks without IPv4 need.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            address = address.ipv4_mapped
        elif address in _WELL_KNOWN_NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    is_plain = address in _UNICAST_6 and not address.scope_id
    return is_plain and not any(address in network for network in _NOT_PUBLIC_6)


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        # ::1 is itself; all else below 2**32 is an IPv4 address in its oldest disguise.
        return address if address.is_loopback else ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
