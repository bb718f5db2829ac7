"""`/healthz` and `/readyz`, as a load balancer asks them."""

import json
from pathlib import Path

import httpx
import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from opscenter.readiness import BEHIND, UNKNOWN
from tests import gateway as gateways
from tests.gateway import Gateway


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_answers_without_a_key(gateway: Gateway, path: str) -> None:
    with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as client:
        found, head, posted = client.get(path), client.head(path), client.post(path)
    assert (found.status_code, head.status_code, head.content) == (200, 200, b"")
    assert found.headers["cache-control"] == "no-store"
    assert head.headers["content-length"] == str(len(found.content))
    assert posted.status_code == 405


def test_it_lives_but_is_not_ready_without_a_database(tmp_path: Path) -> None:
    nowhere = f"postgres://nobody@127.0.0.1:{gateways.free_port()}/none"
    log = tmp_path / "gateway.log"
    with (
        gateways.running(log, OPSCENTER_DATABASE_URL=nowhere) as (url, _),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, UNKNOWN)


@pytest.mark.django_db(transaction=True)
def test_it_is_not_ready_on_tables_of_an_earlier_release(tmp_path: Path) -> None:
    applied = MigrationRecorder(connection).migration_qs
    newest = applied.filter(app="billing").order_by("name").last()
    assert newest is not None
    try:
        with gateways.running(tmp_path / "gateway.log") as (url, _):
            # Once it serves, as by a restored backup: it would not have started without.
            applied.filter(pk=newest.pk).delete()
            behind = httpx.get(f"{url}/readyz", timeout=30, trust_env=False)
            MigrationRecorder(connection).record_applied(newest.app, newest.name)
            applied.create(app="billing", name="9999_of_a_later_release")
            ready = gateways.eventually(
                lambda: httpx.get(f"{url}/readyz", timeout=30, trust_env=False).is_success, 30
            )
    finally:
        applied.filter(name="9999_of_a_later_release").delete()
        if not applied.filter(app=newest.app, name=newest.name).exists():
            MigrationRecorder(connection).record_applied(newest.app, newest.name)
    assert (behind.status_code, json.loads(behind.content)["reason"]) == (503, BEHIND)
    assert ready
