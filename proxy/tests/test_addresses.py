"""Addresses that only the machine's own cloud answers are refused, in every disguise."""

import pytest

from accounts.networks import is_off_limits
from proxy.addresses import literal_off_limits


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",  # noqa: S104  (nobody's address; nothing listens here)
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "no address",
        "",
    ],
)
def test_it_refuses_what_no_upstream_has(address: str) -> None:
    assert is_off_limits(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.7",
        "172.17.0.1",
        "192.168.1.5",
        "100.64.0.1",  # carrier-grade NAT, which private networks between machines use
        "8.8.8.8",
        "2606:4700::1111",
        "fd12:3456::1",
        "::ffff:10.0.0.7",
        "64:ff9b::808:808",
    ],
)
def test_it_lets_machines_and_private_networks_through(address: str) -> None:
    assert not is_off_limits(address)


@pytest.mark.parametrize(
    ("url", "off_limits"),
    [
        ("http://169.254.169.254/latest", True),
        ("http://[fe80::1%25eth0]:80", True),
        ("http://[::ffff:169.254.169.254]", True),
        ("http://127.0.0.1:8000", False),
        ("http://metadata.google.internal", False),  # a name: judged when it is looked up
        ("http://", False),
    ],
)
def test_it_judges_an_address_that_stands_in_a_url(url: str, off_limits: bool) -> None:
    assert literal_off_limits(url) is off_limits
