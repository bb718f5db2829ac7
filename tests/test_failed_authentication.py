"""A flood of wrong keys from one address, as the wire shows it."""

from collections.abc import Iterator

import httpx
import pytest
from django_ratelimit import core

from accounts.tests.people import Person
from tests import gateway as gateways
from tests.gateway import Gateway

LIMIT = 5
LEAST_S = 30  # what a test may take before a window of its address ends


def address() -> str:
    """One whose window has just begun: none may end in the middle of a test."""
    every = (f"203.0.113.{n}" for n in range(256))
    return next(a for a in every if core._get_window(a, 60) - core.time.time() > LEAST_S)


@pytest.fixture(scope="module")
def bounded(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind one proxy, with a limit that a test reaches soon."""
    log = tmp_path_factory.mktemp("bounded") / "log"
    settings = {
        "OPSCENTER_FAILED_AUTH_PER_MINUTE": str(LIMIT),
        "OPSCENTER_TRUSTED_PROXIES": "1",
    }
    with gateways.running(log, **settings) as (url, process):
        yield Gateway(url=url, key="", process=process, log=log)
    assert "Traceback" not in log.read_text()


def ask(gateway: Gateway, key: str, *forwarded: str) -> httpx.Response:
    headers = [("x-api-key", key), *(("x-forwarded-for", value) for value in forwarded)]
    return httpx.get(f"{gateway.url}/v1/models", headers=headers, trust_env=False, timeout=30)


def test_it_answers_429_but_to_who_is_known(bounded: Gateway, key: str, alice: Person) -> None:
    _, unknown = alice.key("new")
    office = address()
    assert ask(bounded, key, office).status_code == 200
    # Whatever a client writes itself, in the same line or in one above, counts for nothing.
    made_up = [ask(bounded, "x", f"192.0.2.{n}", f"198.51.100.{n}, {office}") for n in range(LIMIT)]
    assert [answer.status_code for answer in made_up] == [401] * LIMIT
    refused = ask(bounded, unknown, office)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.json()["error"]["message"].startswith("Too many wrong API keys came from your")
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert ask(bounded, key, office).status_code == 200
    assert ask(bounded, unknown, "198.51.100.8").status_code == 200
    assert ask(bounded, unknown, office).status_code == 200  # known by now


def test_it_counts_no_one_who_shows_nothing(bounded: Gateway) -> None:
    anybody = "2001:db8::1"
    for _ in range(LIMIT + 1):
        answer = httpx.get(
            f"{bounded.url}/v1/models",
            headers={"x-forwarded-for": anybody},
            trust_env=False,
            timeout=30,
        )
        assert answer.status_code == 401
    assert ask(bounded, "x", anybody).status_code == 401
