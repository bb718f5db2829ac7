"""What an operator changes holds on a running gateway within five seconds, on every worker.

The tests change the tables in their own process, which is to the gateway another worker: nobody
tells it, it finds out when its memory runs out.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

import httpx
import pytest

from accounts import keys
from accounts.models import ApiKey, Membership
from accounts.principal import CALLBACK, KEYS_WRITE, MESSAGES
from accounts.tests.people import Person, Role, join
from proxy.models import Route, Upstream
from tests import gateway as gateways
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.upstream import Upstream as ScriptedUpstream

PROMISED_S = 5.0
MEMORY_TTL_S = "4"  # the default; the tests' other gateways remember next to nothing


@pytest.fixture(scope="module")
def remembering(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with the memory that operators' gateways have."""
    log = tmp_path_factory.mktemp("remembering") / "log"
    with gateways.running(log, OPSCENTER_MEMORY_TTL_S=MEMORY_TTL_S) as (url, process):
        yield Gateway(url=url, key="", process=process, log=log)
    assert "Traceback" not in log.read_text()


@pytest.fixture
def live(remembering: Gateway, key: str) -> Gateway:
    """The same, with a key of Alice's that it has just remembered."""
    used = replace(remembering, key=key)
    assert status(used) == 200
    return used


def ask(gateway: Gateway, key: str = "") -> httpx.Response:
    """Show a key at a door that needs one, and no upstream."""
    shown = {"x-api-key": key or gateway.key}
    return httpx.get(f"{gateway.url}/v1/models", headers=shown, trust_env=False, timeout=30)


def status(gateway: Gateway, key: str = "") -> int:
    return ask(gateway, key).status_code


def post(gateway: Gateway, key: str = "", *, model: str = "claude-opus-5-5") -> httpx.Response:
    headers = {"x-api-key": key or gateway.key}
    body = {"model": model, "max_tokens": 1, "messages": []}
    url = f"{gateway.url}/v1/messages"
    return httpx.post(url, headers=headers, json=body, trust_env=False, timeout=30)


def seconds_until(held: Mapping[str, Callable[[], bool]]) -> dict[str, float]:
    """When each was last asked for in vain, all watched at the same time.

    A machine that is busy answers late and lets us look late; what was asked late it must know.
    """
    started = time.monotonic()
    in_vain_s: dict[str, float] = {}
    found: set[str] = set()

    def all_hold() -> bool:
        for name in held.keys() - found:
            asked_s = time.monotonic() - started
            if held[name]():
                found.add(name)
            else:
                in_vain_s[name] = asked_s
        return len(found) == len(held)

    gateways.eventually(all_hold, within_s=2 * PROMISED_S)
    return in_vain_s


def late(in_vain_s: Mapping[str, float]) -> dict[str, float]:
    """Those that were asked for in vain after they had been promised."""
    return {name: seconds for name, seconds in in_vain_s.items() if seconds > PROMISED_S}


def revoke(person: Person) -> None:
    assert keys.revoke(ApiKey.objects.get(user=person.user))


def rotate(person: Person) -> None:
    keys.rotate(ApiKey.objects.get(user=person.user), timedelta())


def deactivate(person: Person) -> None:
    person.user.is_active = False
    person.user.save()


def remove(person: Person) -> None:
    Membership.objects.get(user=person.user).delete()


def delete(person: Person) -> None:
    person.user.delete()


ENDS: dict[Callable[[Person], None], str] = {
    revoke: "was revoked",
    rotate: "was rotated",
    deactivate: "deactivated",
    remove: "left its organization",
    delete: "Unknown API key",
}


def test_it_refuses_a_key_in_use_within_five_seconds_of_its_end(
    live: Gateway, alice: Person
) -> None:
    people = {end: join(end.__name__, alice.organization, Role.MEMBER) for end in ENDS}
    used = {end: person.key()[1] for end, person in people.items()}
    assert [status(live, key) for key in used.values()] == [200] * len(ENDS)
    for end, person in people.items():
        end(person)
    in_vain_s = seconds_until(
        {end.__name__: partial(lambda key: status(live, key) == 401, used[end]) for end in ENDS}
    )
    assert late(in_vain_s) == {}
    for end, says in ENDS.items():
        refusal = ask(live, used[end])
        assert says in refusal.json()["error"]["message"]
        assert refusal.headers["x-should-retry"] == "false"
    assert status(live) == 200, "the key of somebody else was refused with them"


def test_it_takes_a_new_key_at_once(live: Gateway, alice: Person) -> None:
    _, new = alice.key("another")
    assert status(live, new) == 200


def test_it_takes_a_key_that_it_refused_a_moment_ago_once_it_exists(
    live: Gateway, alice: Person
) -> None:
    row, new = alice.key("early")
    stored = ApiKey.objects.filter(id=row.id).values().get()
    row.delete()
    assert status(live, new) == 401
    ApiKey.objects.create(**stored)
    assert status(live, new) == 200


def test_it_never_refuses_either_secret_of_a_rotated_key(live: Gateway, alice: Person) -> None:
    former = live.key
    new = keys.rotate(ApiKey.objects.get(), timedelta(hours=1))
    assert status(live, new) == 200, "the new secret must work on every worker when it is shown"
    assert status(live, former) == 200
    answers = [(status(live, new), status(live, former)) for _ in range(3)]
    assert set(answers) == {(200, 200)}


def test_it_writes_down_when_a_key_was_last_used(live: Gateway) -> None:
    row = gateways.eventually(lambda: ApiKey.objects.filter(last_used_at__isnull=False).first())
    assert row.last_used_at is not None
    assert row.last_used_at >= row.created_at


def test_it_follows_every_change_of_a_route_within_five_seconds(
    live: Gateway, upstream: ScriptedUpstream
) -> None:
    for pattern in ("renamed", "ended", "moved"):
        lead_to(upstream.url, pattern=pattern)

    def serves(model: str, target: str, at: ScriptedUpstream) -> bool:
        return post(live, model=model).status_code == 200 and any(
            request.json["model"] == target for request in at.requests
        )

    seconds_until({"start": lambda: serves("moved", "moved", upstream)})
    with ScriptedUpstream() as other:
        elsewhere = Upstream.objects.create(name="other", kind="anthropic", base_url=other.url)
        Route.objects.filter(pattern="renamed").update(target_model="qwen3:8b")
        Route.objects.filter(pattern="moved").update(upstream=elsewhere)
        Route.objects.filter(pattern="ended").update(enabled=False)
        lead_to(upstream.url, pattern="new")
        in_vain_s = seconds_until(
            {
                "renamed": lambda: serves("renamed", "qwen3:8b", upstream),
                "moved": lambda: serves("moved", "moved", other),
                "ended": lambda: post(live, model="ended").status_code == 404,
                "new": lambda: serves("new", "new", upstream),
            }
        )
        assert other.faults == []
    assert late(in_vain_s) == {}


def test_it_serves_messages_to_a_key_made_over_rest_a_moment_ago(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    wanted = {"name": "made by a program", "scopes": [MESSAGES], "expires_in_days": 1}
    made = httpx.post(
        f"{gateway.url}/api/v1/api-keys", headers=gateway.headers, json=wanted, trust_env=False
    )
    assert made.status_code == 201
    new = made.json()["key"]
    assert ApiKey.objects.get(id=made.json()["id"]).scopes == [MESSAGES]
    answered = post(gateway, new)
    assert (answered.status_code, len(upstream.requests)) == (200, 1)
    assert new not in str(upstream.requests[0].headers)


def test_it_refuses_messages_to_a_key_made_for_the_tunnel(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    wanted = {"name": "tunnel", "scopes": [CALLBACK]}
    made = httpx.post(
        f"{gateway.url}/api/v1/api-keys", headers=gateway.headers, json=wanted, trust_env=False
    )
    refused = post(gateway, made.json()["key"])
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    assert refused.headers["x-should-retry"] == "false"
    assert MESSAGES in refused.json()["error"]["message"]
    assert CALLBACK in refused.json()["error"]["message"]
    assert upstream.requests == []


def test_it_lets_a_key_make_no_key_that_may_do_more(gateway: Gateway, alice: Person) -> None:
    _, narrow = alice.key("narrow", [KEYS_WRITE])
    made = httpx.post(
        f"{gateway.url}/api/v1/api-keys",
        headers={"x-api-key": narrow},
        json={"name": "wide", "scopes": [MESSAGES]},
        trust_env=False,
    )
    assert made.status_code == 403
    assert "scopes" in made.json()


def test_it_refuses_a_revoked_key_at_once_where_it_was_revoked(live: Gateway) -> None:
    row = ApiKey.objects.get()
    gone = httpx.delete(
        f"{live.url}/api/v1/api-keys/{row.id}", headers=live.headers, trust_env=False
    )
    assert gone.status_code == 204
    assert status(live) == 401
