"""The page of approvals: what it shows, to whom, and what its buttons do."""

import re

import pytest
from django.test import Client

from accounts.tests.people import Person, alice, bob, charlie, uses_written
from mcp.models import Approval, ToolCall
from mcp.tests.test_approval_pages import DIGEST, OTHER, waiting

__all__ = ["alice", "bob", "charlie", "uses_written"]

PAGE = "/approvals/"
pytestmark = pytest.mark.django_db(transaction=True)


def browser(person: Person) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person.user)
    return client


def press(client: Client, row: Approval, answer: str, digest: str = DIGEST) -> tuple[int, str]:
    """The status, and what the page says then."""
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', text(client.get(PAGE)))
    assert token is not None
    body = {"csrfmiddlewaretoken": token[1], "answer": answer, "digest": digest}
    done = client.post(f"{PAGE}{row.pk}/", body, follow=True)
    said = re.search(r'<p class="said[^>]*>([^<]+)</p>', text(done))
    return done.status_code, said[1] if said else ""


def text(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined, no-any-return]  # any answer has it


def test_it_shows_the_exact_call_with_what_nobody_would_see(alice: Person) -> None:
    long = "x" * 20_000
    row = waiting(alice, {"command": f"rm -rf \u202e'<b>'\nls\x1b[0m {long}", "n": {"a": None}})
    shown = text(browser(alice).get(PAGE))
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    for mark in ("U+202E", "⏎", "U+001B"):
        assert f"<mark>{mark}</mark>" in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    assert long in shown
    assert "&quot;a&quot;: null" in shown
    assert "bash asks" in shown
    assert f"#{str(row.call_id)[-4:]}</small>" in shown  # as the machine's terminal names it


def test_it_runs_nothing_of_others_and_asks_nobody_else(alice: Person) -> None:
    answer = browser(alice).get(PAGE)
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text(answer))
    assert "no-store" in answer["Cache-Control"]


def test_it_works_without_a_script(alice: Person) -> None:
    shown = text(browser(alice).get(PAGE))
    assert '<noscript><meta http-equiv="refresh"' in shown
    assert "Nothing waits for you" in shown


@pytest.mark.parametrize(
    ("answer", "state", "of_call"),
    [("approve", "approved", "queued"), ("refuse", "refused", "failed")],
)
def test_it_takes_an_answer(alice: Person, answer: str, state: str, of_call: str) -> None:
    row = waiting(alice)
    status, said = press(browser(alice), row, answer)
    assert (status, said.split(".")[0].lower()) == (200, state)
    row.refresh_from_db()
    assert (row.state, row.source, ToolCall.objects.get().state) == (state, "web", of_call)


def test_it_says_why_an_answer_does_not_count(alice: Person) -> None:
    row, client = waiting(alice), browser(alice)
    assert "Look at it again" in press(client, row, "approve", OTHER)[1]
    assert "either" in press(client, row, "always")[1]
    press(client, row, "refuse")
    assert press(client, row, "approve") == (200, "It was refused already.")
    assert ToolCall.objects.get().state == "failed"


def test_it_offers_no_approval_that_its_machine_would_not_take(alice: Person) -> None:
    row, client = waiting(alice, here_only=True), browser(alice)
    shown = text(client.get(PAGE))
    assert 'value="approve"' not in shown
    assert "only in its own terminal" in shown
    press(client, row, "approve")
    assert ToolCall.objects.get().state == "approval"


def test_it_takes_no_answer_from_another_page(alice: Person) -> None:
    row = waiting(alice)
    body = {"answer": "approve", "digest": DIGEST}
    assert browser(alice).post(f"{PAGE}{row.pk}/", body).status_code == 403
    assert ToolCall.objects.get().state == "approval"


def test_it_shows_nobody_anothers_calls(alice: Person, bob: Person, charlie: Person) -> None:
    row = waiting(alice)
    for person in (bob, charlie):
        waiting(person)
        client = browser(person)
        assert str(row.pk) not in text(client.get(PAGE))
        assert press(client, row, "approve")[0] == 404
    assert Approval.objects.get(id=row.pk).state == "pending"


def test_it_gives_its_script_the_list_alone(alice: Person) -> None:
    row = waiting(alice)
    shown = text(browser(alice).get(PAGE, {"part": "1"}))
    assert str(row.pk) in shown
    assert "<html" not in shown


@pytest.mark.parametrize("name", ["", "?part=1"])
def test_it_sends_strangers_to_sign_in(alice: Person, name: str) -> None:
    answer = Client().get(PAGE + name)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/sign-in/")


def test_it_lets_people_in_who_have_no_business_in_the_admin(alice: Person) -> None:
    alice.user.set_password("correct horse battery")
    alice.user.save()
    client = Client()
    wrong = client.post("/sign-in/", {"username": "alice", "password": "wrong"})
    assert wrong.status_code == 200
    assert "default-src 'none'" in wrong["Content-Security-Policy"]
    given = {"username": "alice", "password": "correct horse battery"}
    done = client.post("/sign-in/", given | {"next": PAGE}, follow=True)
    assert done.redirect_chain == [(PAGE, 302)]
    away = client.post("/sign-in/?next=https://evil.example/", given | {"next": "//evil.example"})
    assert away["Location"] == "/portal/"
    assert client.post("/sign-out/", follow=True).redirect_chain == [("/sign-in/", 302)]
    assert client.get(PAGE).status_code == 302


def test_it_lets_nobody_try_passwords_for_long(alice: Person) -> None:
    client = Client()
    tries = [client.post("/sign-in/", {"username": "alice", "password": str(n)}) for n in range(12)]
    assert tries[-1].status_code == 429
    assert "Retry-After" in tries[-1]
