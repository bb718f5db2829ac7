"""Several processes behind one port: who dies is replaced, and who is replaced drops nothing."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from billing.models import UsageRecord
from tests import answers
from tests import gateway as gateways
from tests.crew import Crew, command_of
from tests.gateway import Gateway, eventually
from tests.turns import text_turn
from tests.upstream import Upstream

SERVES = b"serve"
LISTENS = "0A"  # in /proc/net/tcp
MOST_STREAMS = 80
BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}
EVENTS = text_turn().events()


@pytest.fixture
def crew(transactional_db: None, tmp_path: Path) -> Iterator[Crew]:
    log = tmp_path / "log"
    with gateways.running(log, OPSCENTER_WORKERS="2") as (url, parent):
        both = Crew(url=url, parent=parent)
        eventually(lambda: len(both.members()) == 2)
        yield both
    assert "Traceback" not in log.read_text()


def test_who_is_killed_is_replaced(crew: Crew) -> None:
    first, _ = before = crew.members()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(crew.members() - {first}) == 2, within_s=60)
    assert len(crew.members() & before) == 1
    assert {crew.ask() for _ in range(20)} == {200}


def test_one_after_the_other_is_replaced_and_no_request_is_dropped(crew: Crew) -> None:
    before = crew.members()
    stop, statuses = threading.Event(), list[int | str]()

    def ask() -> None:
        while not stop.is_set():
            try:
                statuses.append(crew.ask())
            except httpx.HTTPError as error:
                statuses.append(repr(error))

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    try:
        crew.parent.send_signal(signal.SIGHUP)
        new = eventually(lambda: crew.both_new(before), within_s=120)
    finally:
        stop.set()
        for each in asking:
            each.join(60)
    assert len(new) == 2
    assert len(statuses) > 20 and set(statuses) == {200}


def test_all_stop_with_their_parent(crew: Crew) -> None:
    members = crew.members()
    crew.parent.send_signal(signal.SIGTERM)
    crew.parent.wait(40)
    assert [pid for pid in members if SERVES in command_of(pid)] == []


def test_who_dies_again_and_again_is_waited_for_longer(crew: Crew) -> None:
    rests = list[float]()
    for _ in range(2):
        victim, *_ = crew.members()
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        eventually(partial(_is_full_without, crew, victim), within_s=60)
        rests.append(time.monotonic() - began)
    assert rests[0] >= 1 and rests[1] >= 2
    assert crew.ask() == 200  # the other one serves meanwhile


def _is_full_without(crew: Crew, gone: int) -> bool:
    return len(crew.members() - {gone}) == 2


def test_who_dies_while_it_is_asked_is_missed_at_once(crew: Crew) -> None:
    victim, *_ = crew.members()
    os.kill(victim, signal.SIGSTOP)
    gateways.pause(3)  # by then its parent waits for an answer, and would for HUNG_S
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{victim}").exists(), within_s=15)


def test_who_has_no_parent_ends(crew: Crew) -> None:
    members = crew.members()
    crew.parent.kill()
    crew.parent.wait(10)
    eventually(
        lambda: not [pid for pid in members if b"spawn_main" in command_of(pid)], within_s=60
    )


def test_a_stop_waits_for_no_replacement(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    """SIGTERM while SIGHUP is at work: all stop at once, and not one after the other."""
    log, held = tmp_path / "log", list[threading.Thread]()
    settings = {"OPSCENTER_WORKERS": "2", "OPSCENTER_DRAIN_S": "20"}
    with gateways.running(log, **settings) as (url, parent):
        crew = Crew(url=url, parent=parent)
        eventually(lambda: len(crew.members()) == 2)
        before = crew.members()
        while _busy() < 2:  # else one of them has nothing to wait for
            assert len(held) < MOST_STREAMS
            held += _hold_some(url, gateway, upstream)
        parent.send_signal(signal.SIGHUP)
        eventually(lambda: " makes way" in log.read_text(), within_s=60)
        parent.send_signal(signal.SIGTERM)
        eventually(lambda: not any(_listens(pid, url) for pid in before), within_s=12)
        parent.wait(45)
    for one in held:
        one.join(30)
    assert "Traceback" not in log.read_text()


def test_all_serve_on_until_load_balancers_have_noticed(
    transactional_db: None, tmp_path: Path
) -> None:
    log, settings = tmp_path / "log", {"OPSCENTER_WORKERS": "2", "OPSCENTER_DRAIN_DELAY_S": "120"}
    # The tests' own would keep these from children, as it keeps a developer's.
    settings |= {"DJANGO_SETTINGS_MODULE": "opscenter.settings"}
    with gateways.running(log, **settings) as (url, parent):
        crew = Crew(url=url, parent=parent)
        eventually(lambda: log.read_text().count("startup complete") == 2, within_s=60)
        parent.send_signal(signal.SIGTERM)
        ready = f"{url}/readyz"
        eventually(lambda: httpx.get(ready, trust_env=False, timeout=30).status_code == 503)
        assert {crew.ask() for _ in range(20)} == {200}
        parent.send_signal(signal.SIGINT)  # who cannot wait
        parent.wait(20)
    assert "Traceback" not in log.read_text()
    assert ("workers on SQLite" in log.read_text()) == (connection.vendor == "sqlite")


def _busy() -> int:
    """How many processes have streams."""
    rows = UsageRecord.objects.filter(state="admitted")
    return rows.values("worker_id").distinct().count()


def _hold_some(url: str, gateway: Gateway, upstream: Upstream) -> list[threading.Thread]:
    """Streams that do not end, from now on."""
    begun = threading.Semaphore(0)

    def hold() -> None:
        with (
            suppress(httpx.HTTPError),  # it is cut off in the end
            httpx.Client(headers=gateway.headers, timeout=90, trust_env=False) as client,
            client.stream("POST", f"{url}/v1/messages", json=BODY) as it,
        ):
            assert it.status_code == 200
            begun.release()
            it.read()

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for one in threads:
        upstream.script(answers.stream([*EVENTS[:4], answers.End.HANG]))
        one.start()
    assert all(begun.acquire(timeout=30) for _ in threads)
    return threads


def _listens(pid: int, url: str) -> bool:
    """Whether it takes connections; its streams may still have their time."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = {one[9] for one in sockets if one[1].endswith(port) and one[3] == LISTENS}
    try:
        return f"socket:[{inode}]" in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # it has ended, or closed one just now
        return Path(f"/proc/{pid}").exists()


def test_they_count_together(crew: Crew) -> None:
    asked = 30
    for _ in range(asked):
        httpx.get(f"{crew.url}/v1/models", trust_env=False, timeout=30)
    for _ in range(6):  # whichever of them answers
        told = httpx.get(f"{crew.url}/metrics", trust_env=False, timeout=30).text
        counted = [line for line in told.splitlines() if "/v1/models" in line and "total{" in line]
        assert len(counted) == 1 and counted[0].endswith(f" {asked}.0"), counted


@pytest.mark.django_db
def test_it_does_not_serve_on_tables_of_an_earlier_release(settings: object) -> None:
    settings.PORT = gateways.free_port()  # type: ignore[attr-defined]
    newest = MigrationRecorder.Migration.objects.filter(app="billing").order_by("-name")
    gone = newest.values_list("pk", flat=True)[:1]
    MigrationRecorder.Migration.objects.filter(pk__in=list(gone)).delete()
    with pytest.raises(CommandError, match=r"lacks 1 migrations .* manage.py migrate"):
        call_command("serve")


@pytest.mark.parametrize("many", ["0", "65"])
def test_it_has_no_crew_of_nobody_and_none_of_a_typing_error(many: str) -> None:
    with pytest.raises(CommandError, match="--workers"):
        call_command("serve", "--workers", many)
