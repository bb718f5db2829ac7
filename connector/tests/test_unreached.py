"""Why no connection came about, as a person is told."""

import asyncio
import socket
import ssl

import httpx
import pytest

from opscenter_connector import unreached

HOST = "gateway.example:443"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), f"nothing listens at {HOST}; "),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), "nothing listens at "),
        (socket.gaierror(-2, "Name or service not known"), f"{HOST} has no address; "),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), f"{HOST} does not speak TLS as "),
        (OSError(101, "Network is unreachable"), "[Errno 101] Network is unreachable"),
        (asyncio.TimeoutError(), "TimeoutError"),
    ],
)
def test_it_says_what_is_missing(error: Exception, said: str) -> None:
    assert unreached.words(error, HOST).startswith(said)


async def test_it_sees_through_what_a_library_wraps_around_it() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # and does not listen
        host = f"127.0.0.1:{probe.getsockname()[1]}"
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.ConnectError) as raised:
                await client.get(f"http://{host}")
    assert unreached.words(raised.value, host).startswith(f"nothing listens at {host}")
