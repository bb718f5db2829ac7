"""The exporter as a process: it may be killed at any moment, and it goes with its server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import LazySettings

from accounts.tests.people import Person
from billing.models import OutboxEvent
from billing.tests.lago_rows import usage
from opscenter import exporter
from tests import environment, gateway, lago_contract
from tests import lago as standing_in
from tests.environment import ROOT
from tests.gateway import eventually
from tests.lago import Lago

lago = standing_in.lago
END_S = 40

pytestmark = pytest.mark.django_db(transaction=True)


def lago_settings(lago: Lago) -> dict[str, str]:
    return {
        "OPSCENTER_DATABASE_URL": gateway.database_url(),
        "LAGO_API_URL": lago.url,
        "LAGO_API_KEY": standing_in.KEY,
        # Those of the tests take all that is Lago's out of what a server hands its children.
        "DJANGO_SETTINGS_MODULE": "opscenter.settings",
    }


@contextmanager
def exporting(lago: Lago, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`manage.py exportusage` as a process."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "exportusage", *options],
        cwd=ROOT,
        env=environment.child(**lago_settings(lago)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_delivers_what_a_killed_exporter_had_in_its_hands(alice: Person, lago: Lago) -> None:
    rows = usage(alice, 30)
    lago.behaviour.script.append(standing_in.HOLD)
    with exporting(lago) as first:
        assert lago.held.wait(END_S)
        first.send_signal(signal.SIGKILL)
        assert first.wait(END_S) == -signal.SIGKILL
    leases = set(OutboxEvent.objects.values_list("leased_until", flat=True))
    assert len(leases) == 1
    (until,) = leases
    assert until is not None
    assert 0 < (until - datetime.now(UTC)).total_seconds() <= 60
    OutboxEvent.objects.update(leased_until=datetime.now(UTC))  # a minute later
    with exporting(lago, "--once") as second:
        said, _ = second.communicate(timeout=END_S)
    assert (second.returncode, said) == (0, "30 delivered, 0 parked.\n")
    assert sorted(lago.ids()) == sorted(row.id.hex for row in rows)
    assert not OutboxEvent.objects.exists()
    sent = [[(e["transaction_id"], e["timestamp"]) for e in b["events"]] for b in lago.bodies]
    assert sent[0] == sent[1]


def test_a_signal_lets_it_finish_its_batch(alice: Person, lago: Lago) -> None:
    usage(alice, 3)
    with exporting(lago) as process:
        eventually(lambda: len(lago.ids()) == 3, END_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0
    assert not OutboxEvent.objects.exists()


def test_it_ends_with_whoever_holds_its_stdin(alice: Person, lago: Lago) -> None:
    usage(alice)
    with exporting(lago, "--until-stdin-ends") as process:
        eventually(lambda: lago.ids(), END_S)
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.wait(END_S) == 0


def test_once_says_what_went_wrong(alice: Person, lago: Lago) -> None:
    usage(alice)
    lago.behaviour.always = standing_in.AWAY
    with exporting(lago, "--once") as process:
        said, _ = process.communicate(timeout=END_S)
    assert process.returncode == 1
    assert "0 delivered, 0 parked, then: Lago answered 503" in said
    assert standing_in.KEY not in said


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_brings_its_exporter_and_takes_it_along(
    alice: Person, lago: Lago, tmp_path: Path, ending: signal.Signals
) -> None:
    usage(alice, 2)
    with gateway.running(tmp_path / "log", **lago_settings(lago)) as (_, process):
        eventually(lambda: len(lago.ids()) == 2, END_S)
        (child,) = children(process.pid)
        process.send_signal(ending)
        process.wait(END_S)
        eventually(lambda: not is_alive(child), END_S)


def test_a_server_starts_its_exporter_anew(alice: Person, lago: Lago, tmp_path: Path) -> None:
    with gateway.running(tmp_path / "log", **lago_settings(lago)) as (_, process):
        (child,) = eventually(lambda: children(process.pid), END_S)
        os.kill(child, signal.SIGKILL)
        usage(alice)
        eventually(lambda: lago.ids(), END_S)
        assert children(process.pid) != [child]


def test_no_exporter_runs_where_none_is_wanted(lago: Lago, settings: LazySettings) -> None:
    with exporter.beside(wanted=False):
        assert children(os.getpid()) == []
    settings.LAGO_API_KEY = ""
    with exporter.beside():
        assert children(os.getpid()) == []


@pytest.mark.parametrize(
    "body",
    [
        {"events": [{"transaction_id": "a", "code": "b"}]},
        {"events": [{"transaction_id": 1, "external_subscription_id": "s", "code": "b"}]},
        {
            "events": [
                {
                    "transaction_id": "a",
                    "external_subscription_id": "s",
                    "code": "b",
                    "properties": {"a": {}},
                }
            ]
        },
        {},
        None,
    ],
)
def test_the_stand_in_refuses_what_the_contract_does(body: object) -> None:
    assert lago_contract.request_faults("POST", "/events/batch", {}, body)


def children(pid: int) -> list[int]:
    """The exporters among the processes that this one has started."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for path in found for child in path.read_text().split()]
    return [child for child in pids if b"exportusage" in command_of(child)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
