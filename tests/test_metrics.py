"""`/metrics` as Prometheus reads it, of a gateway that has work."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from accounts.tests.people import Person
from billing.models import OutboxEvent, Plan, Subscription
from tests import answers
from tests import gateway as gateways
from tests.conftest import ledger_row
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream as ScriptedUpstream

BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}
TOKEN = "only-for-tests-" + "m" * 32
BY = {"upstream": "scripted", "route": "*"}


@pytest.fixture
def own(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that has counted nothing yet."""
    with gateways.running(tmp_path / "gateway.log") as (url, process):
        yield replace(gateway, url=url, process=process)


def scraped(url: str, **headers: str) -> dict[str, float]:
    """Every sample, by its name and labels in order."""
    answer = httpx.get(f"{url}/metrics", headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return {
        named(one.name, **one.labels): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def named(name: str, **labels: str) -> str:
    return f"{name} {sorted(labels.items())}"


def ask(gateway: Gateway, url: str = "") -> httpx.Response:
    return httpx.post(
        f"{url or gateway.url}/v1/messages",
        headers=gateway.headers,
        json=BODY,
        timeout=30,
        trust_env=False,
    )


def test_it_counts_a_request_by_upstream_and_route(
    own: Gateway, upstream: ScriptedUpstream
) -> None:
    upstream.script(text_turn())
    assert ask(own).status_code == 200
    row = ledger_row()

    def counted() -> dict[str, float] | None:
        found = scraped(own.url)
        done = named("opscenter_requests_total", **BY, state="completed")
        return found if found.get(done) == 1 else None

    found = gateways.eventually(counted)
    assert found[named("opscenter_tokens_total", **BY, **{"class": "output"})] == row.output_tokens
    assert found[named("opscenter_first_byte_seconds_count", **BY)] == 1
    assert found[named("opscenter_request_seconds_count", **BY)] == 1
    path = {"path": "/v1/messages"}
    assert found[named("opscenter_http_requests_total", **path, status="200")] == 1
    assert found[named("opscenter_writer_batch_rows_sum")] >= 2
    assert found[named("opscenter_database_up")] == 1
    assert found[named("opscenter_requests_open")] == 0
    assert "claude-opus-5-5" not in "".join(found), "a model's name comes from users"


def test_it_counts_what_was_refused(own: Gateway, alice: Person) -> None:
    plan = Plan.objects.create(code="slow", name="Slow", requests_per_minute=2)
    Subscription.objects.create(organization=alice.organization, plan=plan)
    statuses = [ask(own).status_code for _ in range(5)]  # a minute of them may end meanwhile
    assert 429 in statuses
    nobody = httpx.post(f"{own.url}/v1/messages", json=BODY, timeout=30, trust_env=False)
    assert nobody.status_code == 401
    found = scraped(own.url)
    limit = {"limit": "requests", "period": "minute"}
    assert found[named("opscenter_limits_refused_total", **limit)] == statuses.count(429)
    path = {"path": "/v1/messages"}
    assert found[named("opscenter_http_requests_total", **path, status="401")] == 1


def test_it_says_how_long_the_outbox_waits(own: Gateway, upstream: ScriptedUpstream) -> None:
    ask(own)
    row = ledger_row()
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    OutboxEvent.objects.create(record_id=row.id, queued_at=an_hour_ago)
    OutboxEvent.objects.create(record_id=uuid4(), state="parked", queued_at=an_hour_ago)
    try:
        found = scraped(own.url)
    finally:
        OutboxEvent.objects.all().delete()
    assert found[named("opscenter_outbox_events", state="pending")] == 1
    assert found[named("opscenter_outbox_events", state="parked")] == 1
    assert 3600 <= found[named("opscenter_outbox_lag_seconds")] < 4200


def test_it_counts_all_workers_of_a_server_together(
    gateway: Gateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "counters"
    folder.mkdir()
    (folder / "counter_1.db").touch()  # of one that was killed at its start
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with (
        gateways.running(tmp_path / "one.log", **shared) as (one, _),
        gateways.running(tmp_path / "two.log", **shared) as (two, _),
    ):
        upstream.script(text_turn(), text_turn(), text_turn())
        assert [ask(gateway, url).status_code for url in (one, two, two)] == [200] * 3
        done = named("opscenter_requests_total", **BY, state="completed")
        assert gateways.eventually(lambda: scraped(one).get(done) == 3)
        assert scraped(two)[done] == 3


def test_many_may_ask_at_once(own: Gateway) -> None:
    def ask(_: int) -> int:
        return httpx.get(f"{own.url}/metrics", timeout=60, trust_env=False).status_code

    with ThreadPoolExecutor(32) as many:
        assert set(many.map(ask, range(128))) == {200}


def test_it_answers_a_scrape_without_a_database(tmp_path: Path) -> None:
    nowhere = f"postgres://nobody@127.0.0.1:{gateways.free_port()}/none"
    log = tmp_path / "gateway.log"
    with gateways.running(log, OPSCENTER_DATABASE_URL=nowhere) as (url, _):
        found = scraped(url)
    assert found[named("opscenter_database_up")] == 0
    assert named("opscenter_outbox_lag_seconds") not in found, "nobody knows it"


def test_it_is_for_this_host_alone_until_a_token_is_set(own: Gateway, tmp_path: Path) -> None:
    forwarded = {"x-forwarded-for": "203.0.113.9"}
    through = httpx.get(f"{own.url}/metrics", headers=forwarded, timeout=30, trust_env=False)
    assert (through.status_code, "OPSCENTER_METRICS_TOKEN" in through.text) == (403, True)
    with gateways.running(tmp_path / "t.log", OPSCENTER_METRICS_TOKEN=TOKEN) as (url, _):
        shown = [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {own.key}"}]
        refused = [
            httpx.get(f"{url}/metrics", headers=one, timeout=30, trust_env=False) for one in shown
        ]
        assert [one.status_code for one in refused] == [403] * 3
        assert TOKEN not in "".join(one.text for one in refused)
        assert scraped(url, authorization=f"Bearer {TOKEN}", **forwarded)


def test_it_counts_a_stall(own: Gateway, upstream: ScriptedUpstream) -> None:
    events = text_turn().events()
    upstream.script(answers.stream([*events[:4], answers.Pause(5.5), *events[4:]]))
    assert ask(own).status_code == 200
    assert gateways.eventually(
        lambda: scraped(own.url).get(named("opscenter_stalls_total", **BY)) == 1
    )
    assert scraped(own.url)[named("opscenter_stall_seconds_total", **BY)] >= 5
