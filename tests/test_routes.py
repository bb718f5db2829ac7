"""Who is led where: by weight, by organization, with whose credential, and until it changes."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from accounts import sealed
from accounts.tests.people import Person
from proxy.models import OwnCredential, Route, Upstream
from tests import answers
from tests import gateway as gateways
from tests.asking import another_client, ask, error_of, rows
from tests.conftest import lead_to, ledger_row
from tests.gateway import Gateway
from tests.upstream import Upstream as Scripted

REQUESTS = 120


@pytest.fixture
def charlies(gateway: Gateway, charlies_key: str) -> Iterator[httpx.Client]:
    """A client of another organization."""
    with another_client(gateway, key=charlies_key) as client:
        yield client


def message_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


def listed(client: httpx.Client, query: str = "") -> dict[str, dict[str, object]]:
    return {model["id"]: model for model in client.get(f"/v1/models{query}").json()["data"]}


def own(person: Person, upstream: Upstream, credential: str) -> OwnCredential:
    row = OwnCredential(organization=person.organization, upstream=upstream)
    row.store(credential)
    row.save()
    return row


def keys_shown(upstream: Scripted) -> list[str]:
    return [request.headers["x-api-key"] for request in upstream.requests]


def test_it_spreads_sessions_by_weight(
    gateway: Gateway, client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    Route.objects.all().delete()
    lead_to(upstream.url, name="heavy", weight=3)
    lead_to(second.url, name="light", weight=1)
    with ThreadPoolExecutor(4) as clients:
        list(
            clients.map(
                lambda session: ask(client, session), [str(uuid4()) for _ in range(REQUESTS)]
            )
        )
    share = Counter(row.upstream for row in rows(REQUESTS))["heavy"] / REQUESTS
    assert 0.55 < share < 0.92  # five times the deviation to either side of 3/4
    assert len(upstream.requests) == share * REQUESTS


def test_it_leads_an_organization_its_own_way(
    client: httpx.Client,
    charlies: httpx.Client,
    alice: Person,
    upstream: Scripted,
    second: Scripted,
) -> None:
    lead_to(second.url, name="alices", organization=alice.organization)
    ask(client)
    ask(charlies)
    assert [row.upstream for row in rows(2)] == ["alices", "scripted"]
    assert (len(second.requests), len(upstream.requests)) == (1, 1)


def test_it_shows_and_serves_a_model_of_one_organization_to_no_other(
    client: httpx.Client, charlies: httpx.Client, alice: Person, upstream: Scripted
) -> None:
    Route.objects.all().delete()
    lead_to(upstream.url, pattern="acme-model", organization=alice.organization)
    assert set(listed(client)) == {"acme-model"}
    assert ask(client, model="acme-model").status_code == 200
    assert listed(charlies) == {}
    assert charlies.get("/v1/models/acme-model").status_code == 404
    response = ask(charlies, model="acme-model")
    assert error_of(response) == (404, "not_found_error")
    assert "switched off" not in message_of(response)
    assert len(upstream.requests) == 1


def test_it_uses_an_organizations_own_credential_and_says_so_in_the_ledger(
    client: httpx.Client, alice: Person, upstream: Scripted
) -> None:
    row = Upstream.objects.get()
    row.store("ours")
    row.save()
    ask(client)
    own(alice, row, "alices own")
    ask(client)
    assert keys_shown(upstream) == ["ours", "alices own"]
    assert [row.own_credential for row in rows(2)] == [False, True]


def test_it_never_uses_another_organizations_credential(
    charlies: httpx.Client, alice: Person, upstream: Scripted
) -> None:
    row = Upstream.objects.get()
    row.store("ours")
    row.save()
    own(alice, row, "alices own")
    ask(charlies)
    assert keys_shown(upstream) == ["ours"]
    assert not ledger_row().own_credential


def test_it_uses_the_operators_credential_again_when_the_own_one_is_gone(
    client: httpx.Client, alice: Person, upstream: Scripted
) -> None:
    row = Upstream.objects.get()
    row.store("ours")
    row.save()
    kept = own(alice, row, "alices own")
    ask(client)
    kept.delete()
    ask(client)
    assert keys_shown(upstream) == ["alices own", "ours"]


@pytest.mark.parametrize("is_own", [True, False])
def test_it_says_that_a_stored_credential_cannot_be_read(
    client: httpx.Client, server: Gateway, alice: Person, upstream: Scripted, is_own: bool
) -> None:
    row = Upstream.objects.get()
    token = sealed.seal("the secret")[:-5] + "AAAA="
    if is_own:
        OwnCredential.objects.create(
            organization=alice.organization, upstream=row, credential_sealed=token
        )
    else:
        Upstream.objects.update(credential_sealed=token)
    response = ask(client)
    assert error_of(response) == (502, "api_error")
    assert "credential" in message_of(response)
    assert "scripted" in message_of(response)
    assert response.headers["x-should-retry"] == "false"
    for text in (response.text, server.log.read_text()):
        assert "the secret" not in text
        assert token not in text
    assert upstream.requests == []
    assert ledger_row().state == "failed"


def test_it_says_whose_credential_is_not_accepted(
    client: httpx.Client, alice: Person, upstream: Scripted
) -> None:
    upstream.key = "another"
    assert "this gateway's" in message_of(ask(client))
    own(alice, Upstream.objects.get(), "alices own")
    assert "your organization's own" in message_of(ask(client))


def test_it_rests_only_the_credential_that_is_used_up(
    chain: Gateway, client: httpx.Client, charlies: httpx.Client, alice: Person, upstream: Scripted
) -> None:
    own(alice, Upstream.objects.get(name="first"), "alices own")
    upstream.script(answers.error(429, "rate_limit_error", "no", headers={"retry-after": "30"}))
    ask(client)
    ask(client)
    ask(charlies)
    assert [row.upstream for row in rows(3)] == ["second", "second", "first"]


@pytest.mark.parametrize(
    ("what", "why"), [(Route, "its route is switched off"), (Upstream, "upstream scripted is")]
)
def test_it_says_what_is_switched_off(
    client: httpx.Client, what: type[Route | Upstream], why: str
) -> None:
    what._default_manager.update(enabled=False)
    response = ask(client)
    assert error_of(response) == (404, "not_found_error")
    assert why in message_of(response)
    what._default_manager.update(enabled=True)
    assert ask(client).status_code == 200


def test_it_passes_over_what_is_switched_off(
    chain: Gateway, client: httpx.Client, second: Scripted
) -> None:
    Upstream.objects.filter(name="first").update(enabled=False)
    assert ask(client).status_code == 200
    row = ledger_row()
    assert (row.upstream, row.moved_from) == ("second", "")


def test_it_obeys_a_change_of_the_table_within_five_seconds_without_a_restart(
    gateway: Gateway, upstream: Scripted, second: Scripted, tmp_path: Path
) -> None:
    """With the memory that a gateway has unless it is told otherwise."""
    with (
        gateways.running(tmp_path / "log", OPSCENTER_MEMORY_TTL_S="4") as (url, _),
        another_client(gateway, url) as client,
    ):
        ask(client)
        Upstream.objects.update(base_url=second.url)

        def moved() -> bool:
            ask(client)
            return bool(second.requests)

        gateways.eventually(moved, within_s=5)


def test_it_describes_a_model_by_the_route_that_answers(
    client: httpx.Client, upstream: Scripted
) -> None:
    Route.objects.all().delete()
    lead_to(
        upstream.url, name="large", pattern="team", context_window=200_000, max_output_tokens=8192
    )
    Route.objects.update(display_name="Team", description="For the team", lifecycle="deprecated")
    model = listed(client)["team"]
    assert (model["display_name"], model["description"]) == ("Team", "For the team")
    assert (model["max_input_tokens"], model["max_tokens"]) == (200_000, 8192)
    assert model["lifecycle"] == "deprecated"


def test_it_lists_retired_models_only_for_who_asks(
    client: httpx.Client, upstream: Scripted
) -> None:
    Route.objects.all().delete()
    lead_to(upstream.url, pattern="old")
    Route.objects.update(lifecycle="retired")
    lead_to(upstream.url, pattern="new")
    assert set(listed(client)) == {"new"}
    assert set(listed(client, "?lifecycle[]=retired")) == {"old"}
    assert ask(client, model="old").status_code == 200


def test_it_falls_back_from_an_organizations_own_route_to_the_one_for_all(
    client: httpx.Client, alice: Person, second: Scripted
) -> None:
    lead_to(second.url, name="alices", organization=alice.organization)
    second.script(answers.gone())
    assert ask(client).status_code == 200
    row = ledger_row()
    assert (row.upstream, row.moved_from) == ("scripted", "alices")
