"""Where a URL from a user may lead, in all the ways of hiding where it does."""

import pytest

from mcp.targets import UNKNOWN_HOST, Allowed, BadTargetError, allowed, checked, judge

NOBODY = Allowed()


def allow(*entries: str) -> Allowed:
    found = allowed(entries)
    assert isinstance(found, Allowed), found
    return found


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
        ("HTTPS://MCP.Example.COM:443", "https://mcp.example.com/"),
        ("https://mcp.example.com:8443/a?b=c", "https://mcp.example.com:8443/a?b=c"),
        ("https://mcp.example.com?b=c", "https://mcp.example.com/?b=c"),
        ("https://xn--bcher-kva.example/mcp", "https://xn--bcher-kva.example/mcp"),
        ("https://8.8.8.8/mcp", "https://8.8.8.8/mcp"),
        ("https://[2606:4700:0:0::1111]/mcp", "https://[2606:4700::1111]/mcp"),
        ("https://intranet/mcp", "https://intranet/mcp"),  # judged by where it leads
    ],
)
def test_it_takes_an_https_url(url: str, same: str) -> None:
    assert checked(url, NOBODY).url == same


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mcp.example.com/mcp",
        "//mcp.example.com/mcp",
        "http://mcp.example.com/mcp",
        "ftp://mcp.example.com/mcp",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "https:mcp.example.com",
        "https:/mcp.example.com",
        "https:///mcp",
        "https://",
        " https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp\n",
        "https://mcp.example.com/a b",
        "https://mcp.example.com/#fragment",
        "https://mcp.example.com/#",
        "https://user@mcp.example.com/mcp",
        "https://user:secret@mcp.example.com/mcp",
        "https://good.example.com@127.0.0.1/mcp",
        "https://127.0.0.1:80\t@good.example.com/",
        "https://good.example.com\\@127.0.0.1/",
        "https://good.example.com\\.evil.example/",
        "https://mcp.example.com\r\nHost: evil/",
        "https://mcp%2eexample.com/",
        "https://mcp.example.com./mcp",
        "https://.example.com/",
        "https://a..b/",
        "https://-a.example.com/",
        f"https://{'a' * 64}.example.com/",
        f"https://{'a.' * 127}com/",
        f"https://mcp.example.com/{'a' * 500}",
        "https://mcp.example.com:0/",
        "https://mcp.example.com:65536/",
        "https://mcp.example.com:99999/",
        "https://mcp.example.com:-1/",
        "https://mcp.example.com:/",
        "https://mcp.example.com:٤٤٣/",
        "https://8.8.8.8:22/",
        "https://8.8.8.8:25/",
        "https://bücher.example/mcp",
        "https://ⓛocalhost/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://١٢٧.0.0.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://127.0.1/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0/",
        "https://0x/",
        "https://0.0.0.0/",
        "https://10.0.0.7/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/",
        "https://168.63.129.16/",
        "https://192.0.0.192/",
        "https://192.168.1.1/",
        "https://255.255.255.255/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[fec0::1]/",
        "https://[::1/",
        "https://[v1.127]/",
        "https://[]/",
    ],
)
def test_it_refuses_any_other(url: str) -> None:
    with pytest.raises(BadTargetError):
        checked(url, NOBODY)


def test_it_says_what_to_write_instead() -> None:
    for url, text in (
        ("http://mcp.example.com", "https://"),
        ("https://user:hunter2@mcp.example.com", "a field of its own"),
        ("https://bücher.example", "xn--"),
        ("https://a.example/#x", "fragment"),
    ):
        with pytest.raises(BadTargetError) as caught:
            checked(url, NOBODY)
        assert text in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_it_says_the_same_of_a_private_host_and_of_an_unknown_one() -> None:
    target = checked("https://intranet/mcp", NOBODY)
    with pytest.raises(BadTargetError) as caught:
        judge(target, "10.0.0.7", NOBODY)
    assert str(caught.value) == UNKNOWN_HOST
    assert "10.0.0.7" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1%2", "nonsense"]
)
def test_it_judges_where_a_name_leads(address: str) -> None:
    target = checked("https://mcp.example.com", NOBODY)
    judge(target, "8.8.8.8", NOBODY)
    with pytest.raises(BadTargetError):
        judge(target, address, NOBODY)


def test_it_lets_the_operator_allow_a_host() -> None:
    mine = allow("localhost:8000", "mcp.internal", "[::1]:9000", "10.0.0.9")
    judge(checked("http://localhost:8000/mcp", mine), "127.0.0.1", mine)
    judge(checked("http://mcp.internal:22/mcp", mine), "10.1.2.3", mine)
    checked("http://[::1]:9000/mcp", mine)
    checked("http://10.0.0.9/mcp", mine)
    for url in ("http://localhost:8001/", "http://mcp.internal.evil.example/", "http://[::1]/"):
        with pytest.raises(BadTargetError):
            checked(url, mine)


def test_it_lets_the_operator_allow_a_network() -> None:
    mine = allow("10.1.0.0/16", "fd12::/16")
    judge(checked("http://anything.internal/mcp", mine), "10.1.2.3", mine)
    judge(checked("http://anything.internal/mcp", mine), "::ffff:10.1.2.3", mine)
    judge(checked("http://anything.internal/mcp", mine), "fd12::7", mine)
    checked("https://10.1.2.3:8443/mcp", mine)
    for address in ("10.2.0.1", "8.8.8.8", "127.0.0.1"):  # without TLS only what is allowed
        with pytest.raises(BadTargetError):
            judge(checked("http://anything.internal/mcp", mine), address, mine)
    with pytest.raises(BadTargetError):
        checked("http://10.1.2.3:25/", mine)


def test_it_never_allows_what_hands_out_credentials() -> None:
    everything = allow("0.0.0.0/0", "::/0", "169.254.169.254", "mcp.internal")
    for address in ("169.254.169.254", "100.100.100.200", "fd00:ec2::254", "::ffff:169.254.1.1"):
        with pytest.raises(BadTargetError):
            judge(checked("http://mcp.internal", everything), address, everything)
    with pytest.raises(BadTargetError):
        checked("http://169.254.169.254/latest", everything)


@pytest.mark.parametrize(
    "entry",
    [
        "http://localhost",
        "10.0.0.1/8",
        "host:port",
        "host:0",
        "host:99999",
        "a b",
        "*",
        "[::1",
        "[::1]9000",
        "2130706433",
        "host.",
        "/",
    ],
)
def test_it_names_the_entry_that_is_none(entry: str) -> None:
    found = allowed([entry])
    assert isinstance(found, str)
    assert repr(entry) in found


def test_it_bounds_the_list() -> None:
    assert isinstance(allowed(["a"] * 65), str)
