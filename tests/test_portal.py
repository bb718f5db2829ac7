"""The portal over real sockets: somebody signs in, connects, and sees it."""

import html
import re
from collections.abc import Iterator

import httpx
import pytest

from accounts.tests.people import Person
from tests.gateway import Gateway, eventually
from tests.upstream import Upstream

PASSWORD = "a good long one"
QUESTION = {
    "model": "claude-opus-5-5",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "hello"}],
}


@pytest.fixture
def browser(gateway: Gateway, alice: Person) -> Iterator[httpx.Client]:
    """Alice at the sign-in, by name and password."""
    alice.user.set_password(PASSWORD)
    alice.user.save()
    with httpx.Client(
        base_url=gateway.url, follow_redirects=True, trust_env=False, timeout=30
    ) as client:
        yield client


def sent(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """The form of this page, with these fields."""
    shown = client.get(path)
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown.text)
    form = {name: html.unescape(value) for name, value in found} | fields
    return client.post(shown.url, data=form, headers={"referer": str(shown.url)})


def test_it_leads_from_the_sign_in_to_the_first_request(
    gateway: Gateway, browser: httpx.Client, upstream: Upstream
) -> None:
    home = sent(browser, "/portal/", username="alice", password=PASSWORD)
    assert (home.url.path, home.status_code) == ("/portal/", 200)
    made = sent(browser, "/portal/claude-code/")
    assert "no-store" in made.headers["cache-control"]
    lines = dict(re.findall(r"export (ANTHROPIC_\w+)=(\S+?)(?=\n|<)", made.text))
    live = re.search(r'data-live="([^"]+)"', made.text)
    assert live is not None
    path = html.unescape(live[1])
    assert "Waiting for the first request" in browser.get(path).text
    answer = httpx.post(
        f"{gateway.url}/v1/messages?beta=true",
        json=QUESTION | {"model": lines["ANTHROPIC_MODEL"]},
        headers={
            "authorization": f"Bearer {lines['ANTHROPIC_AUTH_TOKEN']}",
            "anthropic-version": "2023-06-01",
        },
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 200
    eventually(lambda: "has answered" in browser.get(path).text)
    assert eventually(lambda: "Nothing was used" not in browser.get("/portal/usage/").text)
    assert 'Connect Claude Code <span class="pill well">done' in browser.get("/portal/").text


def test_it_serves_its_script(browser: httpx.Client) -> None:
    shown = browser.get("/static/opscenter/portal.js")
    assert shown.status_code == 200
    assert "javascript" in shown.headers["content-type"]
