"""What a new installation gets, and what the environment offers it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from accounts import keys
from accounts.models import ApiKey, AuditEntry, Membership, Organization
from accounts.principal import OF_PROGRAMS
from opscenter import env, first_run
from opscenter.first_run import DEMO, Offer
from proxy.models import Route, Upstream
from proxy.tests.listing import Listing, listing
from tests.gateway import free_port

__all__ = ["listing"]

VARIABLES = ("ANTHROPIC_API_KEY", "LITELLM_MASTER_KEY", "LITELLM_API_KEY")
Says = Callable[..., None]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """An environment that names no upstream, whatever the developer's own says."""
    for name in VARIABLES:
        monkeypatch.delitem(env._ENVIRONMENT, name, raising=False)
    settings.LITELLM_URL = settings.OLLAMA_HOST = ""


@pytest.fixture
def environment_says(monkeypatch: pytest.MonkeyPatch) -> Says:
    def say(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setitem(env._ENVIRONMENT, name, value)

    return say


def test_it_offers_the_demo_where_nothing_is_configured() -> None:
    assert first_run.offers() == [DEMO]
    assert (DEMO.kind, DEMO.base_url, DEMO.credential_variable) == ("demo", "", "")


def test_it_offers_anthropic_for_its_key_and_keeps_the_key_out(environment_says: Says) -> None:
    environment_says(ANTHROPIC_API_KEY="sk-ant-secret")
    best, last = first_run.offers()
    assert last is DEMO
    assert best == Offer(
        name="anthropic",
        because="ANTHROPIC_API_KEY",
        base_url="https://api.anthropic.com",
        credential_variable="ANTHROPIC_API_KEY",
        credential_header="x-api-key",
        kind="anthropic",
    )
    assert "secret" not in repr(best)


@pytest.mark.parametrize(
    ("variables", "variable"),
    [
        ({}, "LITELLM_MASTER_KEY"),
        ({"LITELLM_MASTER_KEY": "a"}, "LITELLM_MASTER_KEY"),
        ({"LITELLM_API_KEY": "b"}, "LITELLM_API_KEY"),
        ({"LITELLM_MASTER_KEY": "a", "LITELLM_API_KEY": "b"}, "LITELLM_MASTER_KEY"),
    ],
)
def test_it_offers_litellm_with_the_key_that_is_there(
    environment_says: Says, settings: Settings, variables: dict[str, str], variable: str
) -> None:
    environment_says(**variables)
    settings.LITELLM_URL = "http://litellm:4000"
    best = first_run.offers()[0]
    assert (best.name, best.because, best.kind) == ("litellm", "LITELLM_URL", "compatible")
    assert best.base_url == "http://litellm:4000"
    assert (best.credential_variable, best.credential_header) == (variable, "authorization")


def test_it_offers_the_best_first(environment_says: Says, settings: Settings) -> None:
    environment_says(ANTHROPIC_API_KEY="a")
    settings.LITELLM_URL, settings.OLLAMA_HOST = "http://litellm", "localhost"
    offered = [offer.name for offer in first_run.offers()]
    assert offered == ["anthropic", "litellm", "ollama", "demo"]
    kinds = [offer.kind for offer in first_run.offers()]
    assert kinds == ["anthropic", "compatible", "compatible", "demo"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("box", "http://box:11434"),
        ("box:1234", "http://box:1234"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  (what people set there)
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("[::1]:1", "http://[::1]:1"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("box/", "http://box:11434"),
        ("box:99999", "http://box:11434"),
        ("box:port", "http://box:11434"),
        ("http://box", "http://box:80"),
        ("http://box:11434/", "http://box:11434"),
        ("https://ollama.example.com", "https://ollama.example.com:443"),
        ("https://ollama.example.com:8443", "https://ollama.example.com:8443"),
        ("https://example.com/ollama/", "https://example.com:443/ollama"),
    ],
)
def test_it_reads_ollama_host_as_ollamas_own_clients_do(host: str, url: str) -> None:
    assert first_run.ollama_url(host) == url


@pytest.mark.django_db
def test_it_makes_a_working_installation_once() -> None:
    opened = first_run.open_installation()
    assert opened is not None
    operator = User.objects.get()
    assert (operator.username, operator.is_superuser, operator.is_staff) == ("operator", True, True)
    assert operator.check_password(opened.password)
    assert len(opened.password) >= 20
    assert Membership.objects.get().role == Membership.Role.OWNER
    key = ApiKey.objects.get()
    assert bytes(key.digest) == keys.digest(opened.key)
    assert (key.scopes, key.organization) == (list(OF_PROGRAMS), Organization.objects.get())
    line = AuditEntry.objects.get()
    assert (line.action, line.subject) == ("installation.opened", f"key:{key.id}")
    assert opened.key not in str(line.details) + str(ApiKey.objects.values().get())
    assert first_run.open_installation() is None
    assert (User.objects.count(), ApiKey.objects.count(), AuditEntry.objects.count()) == (1, 1, 1)


@pytest.mark.django_db
def test_it_opens_nothing_where_somebody_is() -> None:
    User.objects.create_user("alice")
    assert first_run.open_installation() is None
    assert not ApiKey.objects.exists()


OFFER = Offer(name="litellm", because="LITELLM_URL", base_url="http://a", credential_variable="A")


@pytest.mark.django_db
def test_it_leads_all_to_one_and_keeps_what_else_there_is() -> None:
    other = Upstream.objects.create(name="other", kind="anthropic", base_url="http://other")
    Route.objects.create(pattern="*", upstream=other, position=1)
    kept = Route.objects.create(pattern="claude-*", upstream=other)
    first_run.lead_all_to(DEMO)
    route = first_run.lead_all_to(OFFER)
    assert first_run.lead_all_to(OFFER) == route
    assert first_run.default_route() == route
    assert (route.upstream.base_url, route.upstream.credential_variable) == ("http://a", "A")
    assert set(Route.objects.filter(enabled=True)) == {kept, route}
    assert Route.objects.filter(enabled=False).count() == 2, "the others may be wanted again"
    assert route.position > kept.position, "it must not answer for what has a route of its own"


@pytest.mark.django_db
def test_it_tells_and_records_what_it_changes() -> None:
    assert first_run.changed_by(DEMO) == []
    first_run.lead_all_to(DEMO)
    row = Upstream(name="litellm", kind="compatible", base_url="http://old")
    row.store("sk-stored")
    row.save()
    assert first_run.changed_by(OFFER) == [
        "The address of litellm was http://old.",
        "The stored credential of litellm was replaced by A.",
        "The routes of * to demo are switched off.",
    ]
    first_run.lead_all_to(OFFER)
    assert first_run.changed_by(OFFER) == []
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"upstream.changed", "route.changed", "route.created"} <= actions


@pytest.mark.django_db
def test_it_advises_nothing_that_is_done_already() -> None:
    assert not first_run.is_used(OFFER)
    first_run.lead_all_to(OFFER)
    assert first_run.is_used(OFFER)


@pytest.mark.django_db
def test_it_switches_on_what_was_off() -> None:
    route = first_run.lead_all_to(OFFER)
    Upstream.objects.update(enabled=False, base_url="http://old")
    Route.objects.update(enabled=False)
    assert first_run.default_route() is None
    assert first_run.lead_all_to(OFFER) == route
    upstream = Upstream.objects.get()
    assert (upstream.enabled, upstream.base_url) == (True, "http://a")
    assert first_run.default_route() == route


@pytest.mark.django_db
def test_it_leaves_alone_what_one_organization_has_for_itself() -> None:
    acme = Organization.objects.create(name="Acme")
    other = Upstream.objects.create(name="other", kind="demo")
    theirs = Route.objects.create(pattern="*", upstream=other, organization=acme, position=1)
    assert first_run.default_route() is None
    route = first_run.lead_all_to(DEMO)
    assert set(Route.objects.all()) == {theirs, route}
    assert first_run.default_route() == route


@pytest.mark.django_db
def test_it_takes_the_environments_credential_over_a_stored_one() -> None:
    row = Upstream(name="litellm", kind="compatible", base_url="http://old")
    row.store("sk-stored")
    row.save()
    first_run.lead_all_to(OFFER)
    row.refresh_from_db()
    assert (row.credential_variable, row.credential_sealed) == ("A", "")


def route_to(listing: Listing, **fields: Any) -> Route:
    """A route to it, as `lead_all_to` makes one."""
    offer = Offer(
        name="litellm",
        because="LITELLM_URL",
        base_url=listing.url,
        credential_variable="LITELLM_MASTER_KEY",
        kind="compatible",
        **fields,
    )
    return first_run.lead_all_to(offer)


@pytest.mark.django_db
def test_it_shows_the_first_model_that_the_server_lists(
    listing: Listing, environment_says: Says
) -> None:
    environment_says(LITELLM_MASTER_KEY="sk-1234")
    listing.lists("qwen3:8b", "other")
    bearer = route_to(listing, credential_header="authorization")
    assert first_run.model_to_show(bearer) == "qwen3:8b"
    [heard] = listing.heard
    assert (heard["path"], heard["authorization"]) == ("/v1/models", "Bearer sk-1234")


@pytest.mark.django_db
def test_it_shows_the_credential_in_the_header_that_the_upstream_wants(
    listing: Listing, environment_says: Says
) -> None:
    environment_says(LITELLM_MASTER_KEY="sk-1234")
    first_run.model_to_show(route_to(listing, credential_header="x-api-key"))
    assert (listing.heard[0]["x-api-key"], "authorization" in listing.heard[0]) == (
        "sk-1234",
        False,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<h1>hello</h1>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"data":[]}'),
        (200, b'{"data":null}'),
        (200, b'{"data":[{"name":"x"}]}'),
        (200, b'{"data":[{"id":null}]}'),
        (200, b'{"data":[{"id":{"a":1}}]}'),
        (200, b'{"data":[{"id":"a\\nrm -rf x"}]}'),
        (200, b'{"data":[{"id":"\\u001b[31mred"}]}'),
        (200, b"[" * 100_000),
        (401, b'{"error":"no"}'),
        (500, b'{"data":[{"id":"from an error"}]}'),
    ],
)
def test_it_says_so_where_no_model_can_be_told(listing: Listing, status: int, body: bytes) -> None:
    listing.status, listing.body = status, body
    assert first_run.model_to_show(route_to(listing)) == "<a model that litellm serves>"


@pytest.mark.django_db
def test_it_says_so_where_nobody_answers() -> None:
    dead = Offer(name="ollama", because="OLLAMA_HOST", base_url=f"http://127.0.0.1:{free_port()}")
    route = first_run.lead_all_to(dead)
    assert first_run.model_to_show(route) == "<a model that ollama serves>"


@pytest.mark.django_db
def test_it_asks_nobody_where_claude_codes_own_default_works() -> None:
    assert first_run.model_to_show(first_run.lead_all_to(DEMO)) == "claude-opus-5-5"
    hosted = Offer(name="anthropic", because="x", base_url=f"http://127.0.0.1:{free_port()}")
    assert first_run.model_to_show(first_run.lead_all_to(hosted)) == "claude-opus-5-5"
