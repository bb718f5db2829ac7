"""What the end-to-end tests share: a running gateway in front of a scripted upstream."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from accounts import memory
from accounts.models import Organization
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

SETTLE_S = 3  # a test that kills its gateway leaves rows that nobody closes

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
def gateway(server: Gateway, key: str, upstream: ScriptedUpstream) -> Iterator[Gateway]:
    """The gateway, with every model routed to the scripted upstream under its own name."""
    lead_to(upstream.url)
    yield replace(server, key=key)
    _let_it_settle()


def _let_it_settle() -> None:
    """Wait until the gateway has closed the rows of the test's requests, if it still does.

    It writes a moment after an answer's end: into tables emptied meanwhile, for the next test.
    """
    for _ in range(SETTLE_S * 100):
        if not UsageRecord.objects.filter(closed_at__isnull=True).exists():
            return
        gateways.pause(0.01)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    """An HTTP client that shows the key."""
    with httpx.Client(
        base_url=gateway.url, headers=gateway.headers, timeout=30, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def charlies_key(transactional_db: None, charlie: Person) -> str:
    """A key of another organization."""
    return charlie.key("laptop", list(SCOPES))[1]


@pytest.fixture
def memory_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process has read is read once, however slow the machine is."""
    monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
def second() -> Iterator[ScriptedUpstream]:
    """Another scripted upstream, to which no route leads yet."""
    with ScriptedUpstream() as other:
        yield other
    assert other.faults == []


@pytest.fixture
def chain(gateway: Gateway, upstream: ScriptedUpstream, second: ScriptedUpstream) -> Gateway:
    """The gateway with a chain of two: `first` at the one upstream, `second` at the other."""
    Route.objects.all().delete()
    lead_to(upstream.url, name="first", position=1)
    lead_to(second.url, name="second", position=2)
    return gateway


def ledger_row(**wanted: object) -> UsageRecord:
    """The one row of the ledger, once it is closed."""

    def found() -> UsageRecord | None:
        return UsageRecord.objects.filter(closed_at__isnull=False, **wanted).first()

    row = gateways.eventually(found)
    assert UsageRecord.objects.count() == 1
    return row


def lead_to(
    url: str,
    *,
    name: str = "scripted",
    kind: str = Upstream.Kind.ANTHROPIC,
    pattern: str = "*",
    target_model: str = "",
    position: int = 100,
    weight: int = 1,
    organization: Organization | None = None,
    **upstream: object,
) -> Upstream:
    """Route `pattern` to the upstream `name`, which is made with `url` unless it is there."""
    row, _ = Upstream.objects.get_or_create(
        name=name, defaults={"kind": kind, "base_url": url, **upstream}
    )
    Route.objects.create(
        pattern=pattern,
        upstream=row,
        target_model=target_model,
        position=position,
        weight=weight,
        organization=organization,
    )
    return row
