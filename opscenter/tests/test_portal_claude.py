"""Connect Claude Code: the lines are right as they are copied, and the check turns green."""

import html
import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from accounts.principal import CALLBACK, MESSAGES
from accounts.tests.people import Person, alice, bob, charlie, uses_written
from billing.tests.usage_rows import row
from opscenter.tests.portal_browser import browser, form_of, said, secrets_in, send, text
from proxy import table
from proxy.models import Route, Upstream

__all__ = ["alice", "bob", "charlie", "uses_written"]

# The routes are read on a thread of their own, which sees what is stored.
pytestmark = pytest.mark.django_db(transaction=True)

PAGE, SEEN = "/portal/claude-code/", "/portal/claude-code/seen/"


@pytest.fixture(autouse=True)
def routes(transactional_db: None) -> None:
    demo = Upstream.objects.create(name="demo", kind=Upstream.Kind.DEMO)
    Route.objects.create(pattern="*", upstream=demo)
    Route.objects.create(pattern="claude-it's", upstream=demo)
    table._memory.forget(None)


def blocks(answer: Any) -> list[str]:
    """What the copy buttons copy."""
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", text(answer), re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", each)) for each in found]


def used(key: ApiKey, ago: timedelta = timedelta()) -> None:
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now() - ago)


def seen(person: Person, key_id: str) -> str:
    return text(browser(person).get(SEEN, {"key": key_id, "part": "1"}))


@override_settings(EXTERNAL_API_URL="https://gateway.example.com")
def test_it_makes_a_key_in_place_and_puts_it_into_every_line(alice: Person, tmp_path: Path) -> None:
    answer = send(browser(alice), PAGE, model="claude-it's")
    (plaintext,) = secrets_in(answer)
    assert "no-store" in answer["Cache-Control"]
    key = ApiKey.objects.get()
    assert key.scopes == [MESSAGES]
    assert re.fullmatch(r"Claude Code, \d{4}-\d\d-\d\d \d\d:\d\d", key.name)
    _, shell, _, settings, helper, helper_settings, *_ = blocks(answer)
    env = {
        "ANTHROPIC_BASE_URL": "https://gateway.example.com",
        "ANTHROPIC_AUTH_TOKEN": plaintext,
        "ANTHROPIC_MODEL": "claude-it's",
    }
    assert json.loads(settings) == {"env": env}
    told = _run(f"{shell}\nenv -0", tmp_path)
    assert env.items() <= dict(line.split("=", 1) for line in told.split("\0") if line).items()
    # As Claude Code runs the helper: by a shell, which knows what ~ is.
    _run(helper, tmp_path)
    given = json.loads(helper_settings)
    assert _run(given["apiKeyHelper"], tmp_path) == f"{plaintext}\n"
    assert given["env"] == {k: v for k, v in env.items() if k != "ANTHROPIC_AUTH_TOKEN"}
    file = tmp_path / ".config/opscenter/claude-code.key"
    assert file.stat().st_mode & 0o777 == 0o600


def _run(script: str, home: Path) -> str:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = ["/bin/sh", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=30)  # noqa: S603  (the page's own lines)
    return done.stdout.decode()


def test_it_makes_one_key_of_one_form(alice: Person) -> None:
    client = browser(alice)
    form = form_of(client, PAGE)
    send(client, PAGE, form)
    key = ApiKey.objects.get()
    again = client.post(PAGE, form, follow=True)
    assert again.redirect_chain == [(f"{PAGE}?key={key.pk}", 302)]
    assert "This form was sent before" in said(again)[0]
    assert secrets_in(again) == set()
    assert ApiKey.objects.count() == 1
    assert "not complete" in said(send(client, PAGE, form, ticket="x"))[0]


def test_it_offers_ones_own_keys_that_can_be_used(alice: Person, bob: Person) -> None:
    good, _ = alice.key("good", [MESSAGES])
    for other in (
        alice.key("machine", [CALLBACK])[0],
        alice.key("expired", expires_at=timezone.now() - timedelta(days=1))[0],
        bob.key("of bob")[0],
    ):
        assert "Waiting" not in text(browser(alice).get(PAGE, {"key": other.pk}))
    keys.revoke(alice.key("revoked")[0])
    shown = text(browser(alice).get(PAGE, {"key": good.pk}))
    assert re.findall(r'<option value="([0-9a-z]{12})"', shown) == [good.pk]
    assert f"ANTHROPIC_AUTH_TOKEN={good.prefix}" in shown.replace("&#x27;", "")
    assert "Waiting for the first request" in shown


@pytest.mark.parametrize("query", [{"key": "x" * 10_000}, {"model": "<script>"}, {"key": "\0"}])
def test_it_takes_nothing_from_its_address_that_is_not_there(
    alice: Person, query: dict[str, str]
) -> None:
    for path in (PAGE, SEEN):
        answer = browser(alice).get(path, query)
        assert answer.status_code == 200
        assert "<script>" not in text(answer).replace("<script src", "")
    assert "ANTHROPIC_MODEL=claude-opus-5-5" in text(browser(alice).get(PAGE, query))


def test_it_turns_green_with_the_first_request(alice: Person) -> None:
    key, _ = alice.key()
    assert "Waiting for the first request" in seen(alice, key.pk)
    used(key)
    assert "check well" in seen(alice, key.pk)
    row(alice, timezone.now(), key=key.pk, model="claude-<b>").save()
    shown = seen(alice, key.pk)
    assert "check well" in shown
    assert "claude-&lt;b&gt; has answered" in shown
    assert "data-over" in shown  # the script looks no more


def test_it_says_that_a_request_failed(alice: Person) -> None:
    key, _ = alice.key()
    used(key)
    row(alice, timezone.now(), key=key.pk).save()
    failed = {"state": "failed", "status": 529, "error_type": "overloaded_error"}
    row(alice, timezone.now() + timedelta(seconds=1), key=key.pk, **failed).save()
    shown = seen(alice, key.pk)
    assert "529 (overloaded_error)" in shown
    assert "check warm" in shown


def test_it_does_not_look_for_old_requests(alice: Person) -> None:
    key, _ = alice.key()
    used(key, timedelta(days=3))
    row(alice, timezone.now() - timedelta(days=3), key=key.pk).save()
    shown = seen(alice, key.pk)
    assert "3 days ago" in shown
    assert "has answered" not in shown


def test_it_tells_nobody_of_the_keys_of_others(alice: Person, bob: Person, charlie: Person) -> None:
    key, _ = bob.key()
    used(key)
    for person in (alice, charlie):  # an owner keeps a member's keys, but does not use them
        assert "This key opens nothing" in seen(person, key.pk)
    assert "This key opens nothing" in seen(bob, "")


def test_it_can_be_watched_without_a_script(alice: Person) -> None:
    key, _ = alice.key()
    answer = browser(alice).get(SEEN, {"key": key.pk})
    assert '<meta http-equiv="refresh" content="5">' in text(answer)
    # On the page itself nothing is loaded anew: the key that it shows would be gone.
    made = text(send(browser(alice), PAGE))
    assert "http-equiv" not in made
    assert re.search(
        r'<noscript><p><a href="/portal/claude-code/seen/\?key=\w+" target="_blank"', made
    )


def test_it_says_so_where_no_route_leads_anywhere(alice: Person) -> None:
    Route.objects.update(enabled=False)
    table._memory.forget(None)
    assert "No route leads to any model yet" in text(browser(alice).get(PAGE))


@override_settings(EXTERNAL_API_URL="https://gateway.example.com")
def test_it_tells_of_the_sign_in_where_there_is_one(alice: Person) -> None:
    *_, sign_in, settings = blocks(browser(alice).get(PAGE))
    assert sign_in == "ops-connector login --api-url https://gateway.example.com"
    given = json.loads(settings)
    assert given["apiKeyHelper"] == "ops-connector token --api-url https://gateway.example.com"
    assert "ANTHROPIC_AUTH_TOKEN" not in given["env"]
    with override_settings(OIDC_ISSUER=""):
        assert "ops-connector token" not in text(browser(alice).get(PAGE))


def test_a_key_may_use_machines_where_that_is_ticked(alice: Person) -> None:
    send(browser(alice), PAGE, machines="1")
    assert set(ApiKey.objects.get().scopes) == {MESSAGES, CALLBACK}


def test_it_keeps_the_model_that_was_chosen_with_the_key(alice: Person) -> None:
    page = text(browser(alice).get(PAGE))
    form = page[page.index("<form method") : page.index("Make a key here")]
    assert '<select name="model">' in form
    assert "claude-it&#x27;s" in text(send(browser(alice), PAGE, model="claude-it's"))


def test_it_says_when_it_was_the_demo_that_answered(alice: Person) -> None:
    key, _ = alice.key("one", [MESSAGES])
    used(key)
    row(alice, timezone.now(), key=key.pk, upstream="demo").save()
    assert "built-in demo" in seen(alice, key.pk)
    Upstream.objects.update(name="other")
    assert "built-in demo" not in seen(alice, key.pk)
