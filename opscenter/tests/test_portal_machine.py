"""Connect a machine: what is pasted there works, and what is there is shown."""

import html
import re
import tomllib
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from accounts.models import ApiKey
from accounts.principal import CALLBACK
from accounts.tests.people import Person, alice, bob, charlie, uses_written
from mcp.models import Connector
from mcp.tests import machines
from opscenter.tests.portal_browser import browser, form_of, said, secrets_in, send, text

__all__ = ["alice", "bob", "charlie", "uses_written"]

pytestmark = pytest.mark.django_db

PAGE, THERE = "/portal/machine/", "/portal/machine/there/"


def toml_on(answer: Any) -> dict[str, Any]:
    """The file on the page, read as the connector reads it."""
    found = re.search(
        r'aria-label="Lines that write connector.toml">(.*?)</pre>', text(answer), re.DOTALL
    )
    assert found is not None
    _, *lines, end = html.unescape(found[1]).splitlines()
    assert end == "EOF"
    return tomllib.loads("\n".join(lines))


def test_it_makes_a_key_that_connects_and_nothing_else(alice: Person) -> None:
    client = browser(alice)
    form = form_of(client, PAGE)
    answer = send(client, PAGE, form)
    (plaintext,) = secrets_in(answer)
    assert f"&#x27;{plaintext}&#x27; &gt; ~/.config/opscenter-connector/key" in text(answer)
    key = ApiKey.objects.get()
    assert key.scopes == [CALLBACK]
    assert re.fullmatch(r"Connector, \d{4}-\d\d-\d\d \d\d:\d\d", key.name)
    again = client.post(PAGE, form, follow=True)
    assert "This form was sent before" in said(again)[0]
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    ("url", "allows_http"),
    [
        ("http://127.0.0.1:8084", None),
        ("https://gateway.example.com", None),
        ("http://gateway.lan", True),
    ],
)
def test_it_writes_the_file(alice: Person, url: str, allows_http: bool | None) -> None:
    with override_settings(EXTERNAL_API_URL=url):
        found = toml_on(browser(alice).get(PAGE))
    assert (found["api_url"], found["user_id"]) == (url, str(alice.user.pk))
    assert found.get("allow_http") is allows_http
    assert found["local"] == {"allowed_paths": ["~/agent-work"]}


def test_it_shows_the_machines_that_are_there_and_what_they_offer(alice: Person) -> None:
    assert "No machine has been here yet" in text(browser(alice).get(THERE))
    laptop = machines.machine(alice, "laptop", platform="Linux 6.12")
    title = "Ops-Center local tools (sandbox: landlock)"
    machines.server(laptop, "local", "read_file", "bash", title=title)
    machines.server(laptop, "docs", state="failed", error="It is <not> there.")
    shown = text(browser(alice).get(THERE))
    for words in ("online", "by websocket", "sandbox landlock", "2 tools", "bash", "Linux 6.12"):
        assert words in shown
    assert "It is &lt;not&gt; there." in shown
    assert "<html" not in shown  # the part alone


def test_it_says_where_nothing_holds_commands(alice: Person) -> None:
    laptop = machines.machine(alice, "laptop")
    machines.server(laptop, "local", "bash", title="Ops-Center local tools (sandbox: none)")
    assert "no sandbox" in text(browser(alice).get(THERE))


def test_it_believes_no_other_server_about_the_sandbox(alice: Person) -> None:
    laptop = machines.machine(alice, "laptop")
    machines.server(laptop, "files", title="Safe (sandbox: bubblewrap)")
    machines.server(laptop, "local", title="(sandbox: <b>)")
    assert 'class="pill well">sandbox' not in text(browser(alice).get(THERE))


def test_it_says_when_a_machine_was_seen_last(alice: Person) -> None:
    gone = timezone.now() - timedelta(hours=5)
    machines.machine(alice, "old", last_seen_at=gone, closed_at=gone)
    shown = text(browser(alice).get(THERE))
    assert "offline" in shown
    assert "last seen 5 hours ago" in shown
    assert "by websocket" not in shown


def test_it_shows_ones_own_machines_only(alice: Person, bob: Person, charlie: Person) -> None:
    for person in (alice, bob, charlie):
        machines.machine(person, f"of {person.user.username}")
    machines.machine(alice, "gateway itself", kind=Connector.Kind.GATEWAY)
    for person in (alice, bob, charlie):
        for path in (PAGE, THERE):
            shown = text(browser(person).get(path))
            assert set(re.findall(r"of (?:alice|bob|charlie)(?=<)", shown)) == {
                f"of {person.user.username}"
            }
            assert "gateway itself" not in shown
