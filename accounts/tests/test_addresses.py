"""Whose request it is by address, whatever a client writes into its headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.addresses import client_of

PROXY = "10.0.0.1"
CLIENT = "203.0.113.7"
FORGED = "198.51.100.9"


@pytest.mark.parametrize(
    ("forwarded", "trusted_proxies", "counted"),
    [
        # Nobody in front of us is trusted: whatever the header says.
        ([], 0, PROXY),
        ([CLIENT], 0, PROXY),
        ([f"{FORGED}, {CLIENT}"], 0, PROXY),
        # One proxy: it wrote the last entry, the client wrote the rest.
        ([CLIENT], 1, CLIENT),
        ([f"{FORGED}, {CLIENT}"], 1, CLIENT),
        ([f"{FORGED},{FORGED} ,\t{CLIENT} "], 1, CLIENT),
        ([FORGED, CLIENT], 1, CLIENT),  # two header lines are one list
        ([f"{FORGED}, {FORGED}", CLIENT], 1, CLIENT),
        (["," * 30_000 + CLIENT], 1, CLIENT),
        # Two: the outer one wrote the last but one, the inner one the outer one's address.
        ([f"{CLIENT}, 10.0.0.2"], 2, CLIENT),
        ([f"{FORGED}, {CLIENT}, 10.0.0.2"], 2, CLIENT),
        ([f"{FORGED}, {CLIENT}", "10.0.0.2"], 2, CLIENT),
        # Fewer entries than proxies: somebody came past them, and is their own witness only.
        ([], 1, PROXY),
        ([CLIENT], 2, PROXY),
        ([f"{FORGED}, {CLIENT}"], 3, PROXY),
        # No address where one should stand.
        ([""], 1, PROXY),
        ([f"{CLIENT},"], 1, PROXY),
        ([f"{FORGED}, unknown"], 1, PROXY),
        ([f"{FORGED}, _hidden"], 1, PROXY),
        ([f"{FORGED}, 203.0.113.256"], 1, PROXY),
        ([f"{FORGED}, 203.0.113.07"], 1, PROXY),
        ([f"{FORGED}, 3405803783"], 1, PROXY),
        ([f"{FORGED}, 203.0.113.7 198.51.100.9"], 1, PROXY),
        ([f"{FORGED}, ٢٠٣.0.113.7"], 1, PROXY),
        ([f"{FORGED}, " + "1" * 10_000], 1, PROXY),
        ([f"{FORGED}, for={CLIENT}"], 1, PROXY),
        ([f"{FORGED}, {CLIENT}\0"], 1, PROXY),
        # With a port, as some proxies write it.
        ([f"{CLIENT}:4711"], 1, CLIENT),
        ([f"{CLIENT}:http"], 1, PROXY),
        (["[2001:db8:1:2::5]:4711"], 1, "2001:db8:1:2::/64"),
        (["[2001:db8:1:2::5]"], 1, "2001:db8:1:2::/64"),
        (["[2001:db8:1:2::5"], 1, PROXY),
        (["[2001:db8:1:2::5]4711"], 1, PROXY),
        (["[]"], 1, PROXY),
        # A subscriber's whole network is one client.
        (["2001:db8:1:2:3:4:5:6"], 1, "2001:db8:1:2::/64"),
        (["2001:DB8:1:2::ffff"], 1, "2001:db8:1:2::/64"),
        (["2001:db8:1:3::ffff"], 1, "2001:db8:1:3::/64"),
        (["fe80::1%eth0"], 1, "fe80::/64"),
        # IPv4 in the clothes of IPv6 is the same client, not one of a /64 of all.
        ([f"::ffff:{CLIENT}"], 1, CLIENT),
        (["::ffff:cb00:7107"], 1, CLIENT),
    ],
)
def test_it_finds_whom_to_count(forwarded: list[str], trusted_proxies: int, counted: str) -> None:
    assert client_of(PROXY, forwarded, trusted_proxies) == counted


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::/64"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("fe80::1%2", "fe80::/64"),
        ("", ""),  # a Unix socket
        ("testclient", ""),
    ],
)
def test_it_knows_every_kind_of_peer(peer: str, counted: str) -> None:
    assert client_of(peer, [], 0) == counted


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(min_value=0, max_value=10))
def test_it_takes_whatever_a_client_writes(forwarded: list[str], trusted_proxies: int) -> None:
    assert client_of(PROXY, forwarded, trusted_proxies)


@given(st.text(max_size=60))
def test_it_believes_nothing_left_of_what_the_proxy_wrote(forged: str) -> None:
    assert client_of(PROXY, [forged, CLIENT], 1) == CLIENT
    assert client_of(PROXY, [f"{forged}, {CLIENT}"], 1) == CLIENT
