"""What the end-to-end tests share: a running gateway in front of a scripted upstream."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from accounts.principal import SCOPES
from accounts.tests import people
from accounts.tests.people import Person
from billing.models import UsageRecord
from proxy.models import Route, Upstream
from tests import gateway as gateways
from tests import upstream as scripted
from tests.environment import VAR
from tests.gateway import Gateway
from tests.upstream import Upstream as ScriptedUpstream

upstream = scripted.upstream
alice, bob, charlie, uses_written = people.alice, people.bob, people.charlie, people.uses_written


@pytest.fixture(scope="session")
def server(django_db_setup: None, django_db_blocker: object) -> Iterator[Gateway]:
    """One gateway for the whole run."""
    log = VAR / "gateway.log"
    log.write_bytes(b"")
    with gateways.running(log) as (url, process):
        yield Gateway(url=url, key="", process=process, log=log)
    assert process.returncode in {0, -15}, "the gateway did not stop as asked"
    assert "Traceback" not in log.read_text(), f"the gateway's log holds a traceback: {log}"


@pytest.fixture
def key(transactional_db: None, alice: Person) -> str:
    """A key of Alice's, with every scope."""
    _, plaintext = alice.key("laptop", list(SCOPES))
    return plaintext


@pytest.fixture
def gateway(server: Gateway, key: str, upstream: ScriptedUpstream) -> Gateway:
    """The gateway, with every model routed to the scripted upstream under its own name."""
    lead_to(upstream.url)
    return replace(server, key=key)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    """An HTTP client that shows the key."""
    with httpx.Client(
        base_url=gateway.url, headers=gateway.headers, timeout=30, trust_env=False
    ) as client:
        yield client


def ledger_row(**wanted: object) -> UsageRecord:
    """The one row of the ledger, once it is closed."""

    def found() -> UsageRecord | None:
        return UsageRecord.objects.filter(closed_at__isnull=False, **wanted).first()

    row = gateways.eventually(found)
    assert UsageRecord.objects.count() == 1
    return row


def lead_to(url: str, *, pattern: str = "*", target_model: str = "", position: int = 100) -> None:
    """Route `pattern` to an Anthropic-format server at `url`."""
    row, _ = Upstream.objects.get_or_create(
        name="scripted", defaults={"kind": Upstream.Kind.ANTHROPIC, "base_url": url}
    )
    Route.objects.create(
        pattern=pattern, upstream=row, target_model=target_model, position=position
    )
