"""What a request is about, by a small model where the rules only guess; never at its cost."""

from collections.abc import Iterator

import httpx
import pytest

from accounts.tests.people import Person
from billing.models import UsageRecord
from proxy.models import Agent, Crew
from tests import answers
from tests import gateway as gateways
from tests.asking import rows
from tests.conftest import lead_to
from tests.environment import VAR
from tests.gateway import Gateway
from tests.test_limits import begin_a_minute, subscribe
from tests.turns import Turn, text_turn
from tests.upstream import COUNT_TOKENS, MESSAGES, Request, Upstream

SMALL = "small-model"
UNSURE = "Mach bitte, dass die Uhr am Bahnhof wieder die richtige Zeit zeigt, so wie gestern."
SURE = "Please review this pull request."


@pytest.fixture
def asking(
    transactional_db: None, key: str, upstream: Upstream, second: Upstream
) -> Iterator[httpx.Client]:
    """A client of a gateway that asks the `second` upstream for opinions."""
    Crew.objects.all().delete()
    Agent.objects.all().delete()
    for kind in ("general", "debugging", "code_review"):
        Agent.objects.create(slug=kind, name=kind, model="claude-opus-5-5", task_types=[kind])
    lead_to(upstream.url)
    lead_to(second.url, name="small", pattern=SMALL, position=1)
    settings = {"OPSCENTER_INTENT_MODEL": SMALL, "OPSCENTER_INTENT_S": "1.5"}
    with gateways.running(VAR / "gateway-opinions.log", **settings) as (url, process):
        gateway = Gateway(url=url, key=key, process=process, log=VAR / "gateway-opinions.log")
        with httpx.Client(
            base_url=url, headers=gateway.headers, timeout=30, trust_env=False
        ) as client:
            yield client


def answered_by(client: httpx.Client, words: str = UNSURE, **more: object) -> str:
    """Which agent answers, by the ledger's row of the request."""
    body = {
        "model": "claude-brigade-auto",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": words}],
    }
    answer = client.post(MESSAGES, json=body | more)
    assert answer.status_code == 200, answer.text
    request_id = answer.headers["request-id"].removeprefix("req_")
    return UsageRecord.objects.get(id=request_id).agent


def asked(second: Upstream) -> list[Request]:
    return second.sent_to(MESSAGES)


def test_it_is_asked_where_the_rules_only_guess(
    asking: httpx.Client, upstream: Upstream, second: Upstream
) -> None:
    upstream.script(text_turn("Tick."))
    second.script(text_turn("Debugging."))
    assert answered_by(asking) == "debugging"
    (question,) = asked(second)
    assert UNSURE in question.json["messages"][0]["content"]
    assert "tools" not in question.json
    first, last = rows(2)
    child, root = (first, last) if first.parent_id else (last, first)
    assert (child.parent_id, root.parent_id) == (root.id, None)
    assert (child.requested_model, child.input_tokens, child.output_tokens) == (SMALL, 25, 15)


@pytest.mark.parametrize(
    ("words", "more", "agent"),
    [
        (SURE, {}, "code_review"),
        (UNSURE, {"brigade": {"task_type": "code_review"}}, "code_review"),
        (UNSURE, {"model": "claude-agent-debugging"}, "debugging"),
    ],
)
def test_it_is_not_asked_where_nobody_guesses(
    asking: httpx.Client,
    upstream: Upstream,
    second: Upstream,
    words: str,
    more: dict[str, object],
    agent: str,
) -> None:
    upstream.script(text_turn("Tick."))
    assert answered_by(asking, words, **more) == agent
    assert not asked(second)
    rows(1)


@pytest.mark.parametrize(
    "says",
    [
        text_turn("It is either debugging or code_review."),
        text_turn("Cooking."),
        text_turn(""),
        answers.error(400, "invalid_request_error", "No."),
        answers.error(529, "overloaded_error", "Too much."),
        answers.as_html("<h1>hello</h1>", status=200),
        answers.as_json({"type": "message", "content": [{"type": "text", "text": 7}]}),
        answers.silent(),
    ],
)
def test_the_guess_counts_where_it_says_nothing_of_use(
    asking: httpx.Client, upstream: Upstream, second: Upstream, says: answers.Answer | Turn
) -> None:
    upstream.script(text_turn("Tick."))
    second.script(says)
    assert answered_by(asking) == "general"
    assert len(asked(second)) == 1
    rows(2)  # the question's is closed as well


def test_a_session_goes_on_with_what_it_was_about(
    asking: httpx.Client, upstream: Upstream, second: Upstream
) -> None:
    asking.headers["x-claude-code-session-id"] = "clock"
    upstream.script(text_turn("Tick."), text_turn("Tock."))
    second.script(text_turn("debugging"))
    assert answered_by(asking) == "debugging"
    assert answered_by(asking, "ja, mach das") == "debugging"
    assert len(asked(second)) == 1


def test_counting_asks_nobody(asking: httpx.Client, upstream: Upstream, second: Upstream) -> None:
    body = {"model": "claude-brigade-auto", "messages": [{"role": "user", "content": UNSURE}]}
    assert asking.post(COUNT_TOKENS, json=body).status_code == 200
    assert not second.requests


def test_the_preview_says_that_it_would_be_asked(asking: httpx.Client, second: Upstream) -> None:
    unsure = asking.post("/api/v1/brigade/preview", json={"prompt": UNSURE}).json()
    sure = asking.post("/api/v1/brigade/preview", json={"prompt": SURE}).json()
    assert (unsure["small_model"], sure["small_model"]) == (SMALL, None)
    assert not second.requests


def test_its_question_is_one_of_the_minutes_requests(
    asking: httpx.Client, alice: Person, upstream: Upstream, second: Upstream
) -> None:
    subscribe(alice, requests_per_minute=2)
    begin_a_minute(alice)
    upstream.script(text_turn("Tick."))
    second.script(text_turn("debugging"), text_turn("debugging"))
    assert answered_by(asking) == "debugging"
    body = {
        "model": "claude-brigade-auto",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": f"{UNSURE} Und morgen?"}],
    }
    assert asking.post(MESSAGES, json=body).status_code == 429
    assert len(asked(second)) == 1
