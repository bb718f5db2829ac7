"""Every call that ended has its row, in a chain that shows what was done to it."""

import json
import time
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Q

from accounts.tests import people
from accounts.tests.people import Person
from mcp import auditing, calls
from mcp.calls import Decider, Question
from mcp.models import AuditedCall, Connector, ToolCall
from mcp.reaper import Reaper
from mcp.states import Asker, Outcome, Source
from mcp.tests.queues import begun, claimed, connector_of, new_call

alice, charlie = people.alice, people.charlie
RAN = '{"content":[],"_meta":{"opscenter/sandbox":"bubblewrap","opscenter/exit":2},"isError":true}'
PARAMS = '{"name":"bash","arguments":{"command":"make","token":"very-secret"}}'


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return connector_of(alice, max_in_flight=16)


def ended(connector: Connector, result: str = RAN, **more: Any) -> calls.Claimed:
    """A call that ran and answered."""
    found: dict[str, Any] = {"server": "local", "tool": "bash", "params": PARAMS, **more}
    holder, call = begun(connector, **found)
    calls.finish(holder, call.id, call.fence, Outcome.DONE, result)
    return call


def told(row: AuditedCall) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row.told)
    return found


def verified() -> tuple[bool, str]:
    """Whether the audit is whole, and what was printed."""
    out = StringIO()
    try:
        call_command("verifyaudit", stdout=out)
    except CommandError:
        return False, out.getvalue()
    return True, out.getvalue()


def test_it_tells_what_was_asked_and_what_came_of_it(laptop: Connector) -> None:
    call = ended(laptop, definition="d" * 64, decision="allow", policy_version=3)
    Reaper().step(time.monotonic())
    row = AuditedCall.objects.get()
    said = told(row)
    assert (row.number, row.previous, row.call) == (1, "", call.id)
    assert (said["server"], said["tool"], said["state"]) == ("local", "bash", "failed")
    assert said["user"]["name"] == "alice"
    assert said["machine"]["name"] == "laptop"
    assert (said["sandbox"], said["exit"]) == ("bubblewrap", 2)
    assert (said["organization_decision"], said["policy_version"]) == ("allow", 3)
    assert said["definition"] == "d" * 64
    assert said["preview"] == '{"command": "make", "token": "[hidden]"}'
    assert len(said["params_sha256"]) == len(said["result_sha256"]) == 64
    assert said["duration_ms"] >= 0
    assert "very-secret" not in row.told


def test_it_believes_only_the_connectors_own_server_about_the_sandbox(laptop: Connector) -> None:
    ended(laptop, server="files")
    auditing.write()
    said = told(AuditedCall.objects.get())
    assert (said["sandbox"], said["exit"]) == (None, None)


DENIED = '{"code":-32000,"message":"no","data":{"opscenter/decision":"deny"}}'


def test_it_tells_that_the_machines_own_policy_denied_it(laptop: Connector) -> None:
    holder, call = begun(laptop)
    calls.finish(holder, call.id, call.fence, Outcome.ERROR, DENIED)
    auditing.write()
    said = told(AuditedCall.objects.get())
    assert (said["machine_decision"], said["organization_decision"]) == ("deny", "")


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (Outcome.DONE, DENIED),
        (Outcome.ERROR, '{"code":1,"message":"x","data":{"opscenter/decision":["deny"]}}'),
        (Outcome.ERROR, '{"code":1,"message":"x","data":{"opscenter/decision":"allow"}}'),
        (Outcome.ERROR, '{"code":1,"message":"x","data":[7]}'),
        (Outcome.ERROR, '{"code":1,"message":"x"}'),
    ],
)
def test_it_takes_nothing_else_for_a_decision(
    laptop: Connector, outcome: Outcome, result: str
) -> None:
    holder, call = begun(laptop)
    calls.finish(holder, call.id, call.fence, outcome, result)
    auditing.write()
    assert told(AuditedCall.objects.get())["machine_decision"] is None


def test_a_server_without_a_machine_says_nothing_of_one(laptop: Connector) -> None:
    holder, call = begun(laptop)
    calls.finish(holder, call.id, call.fence, Outcome.ERROR, DENIED)
    Connector.objects.update(kind=Connector.Kind.GATEWAY)
    auditing.write()
    assert told(AuditedCall.objects.get())["machine_decision"] is None


@pytest.mark.parametrize(
    "result",
    [
        '{"content":[],"_meta":7}',
        '{"content":[],"_meta":{"opscenter/sandbox":{},"opscenter/exit":"1"}}',
        '{"content":[' + "[" * 50_000 + "]" * 50_000 + "]}",
    ],
    ids=["no object", "other types", "deep"],
)
def test_it_puts_down_whatever_a_machine_answered(laptop: Connector, result: str) -> None:
    ended(laptop, result)
    assert auditing.write() == 1
    assert told(AuditedCall.objects.get())["sandbox"] is None


def test_it_names_who_approved_when_and_where(laptop: Connector) -> None:
    holder, call = claimed(laptop)
    asked = Question(asked_by=Asker.MACHINE, digest="a" * 64, fence=call.fence)
    calls.ask(holder, call.id, asked)
    decider = Decider(
        actor="user:7",
        name="alice",
        source=Source.API,
        place="192.0.2.7",
        user_id=laptop.user_id,
        organizations=[laptop.organization_id],
    )
    calls.decide(decider, Q(call_id=call.id), digest="a" * 64, approve=False)
    auditing.write()
    said = told(AuditedCall.objects.get())
    assert said["machine_decision"] == "ask"
    (answer,) = said["approvals"]
    assert answer.pop("at")
    assert answer == {
        "asked_by": "machine",
        "digest": "a" * 64,
        "state": "refused",
        "by": "user:7",
        "name": "alice",
        "source": "api",
        "place": "192.0.2.7",
    }


def test_it_puts_down_each_call_once_and_no_open_one(laptop: Connector) -> None:
    calls.enqueue(new_call(laptop))
    ended(laptop)
    cancelled = calls.enqueue(new_call(laptop))
    calls.cancel(laptop.organization_id, cancelled)
    assert auditing.write() == 2
    assert auditing.write() == 0
    assert [row.number for row in AuditedCall.objects.order_by("number")] == [1, 2]
    assert verified()[0]


def test_it_goes_on_where_a_batch_ended(laptop: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "AT_ONCE", 2)
    for _ in range(5):
        ended(laptop)
    assert auditing.write() == 5
    assert verified()[0]


def test_it_has_a_chain_for_each_organization(laptop: Connector, charlie: Person) -> None:
    ended(laptop)
    ended(connector_of(charlie))
    auditing.write()
    assert [row.number for row in AuditedCall.objects.all()] == [1, 1]
    is_whole, said = verified()
    assert (is_whole, said.count("whole, 1 rows")) == (True, 2)


def test_it_keeps_the_audit_of_calls_that_are_deleted(laptop: Connector) -> None:
    ended(laptop)
    assert calls.purge(-1) == 0  # it has no row yet
    auditing.write()
    assert calls.purge(-1) == 1
    assert not ToolCall.objects.exists()
    assert verified()[0]


def untouchable(statement: str, *values: Any) -> None:
    """What somebody does who owns the database."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER IF EXISTS mcp_audit_kept")
        else:
            cursor.execute("ALTER TABLE mcp_auditedcall DISABLE TRIGGER mcp_audit_kept")
        cursor.execute(statement, values)


def changed() -> None:
    row = AuditedCall.objects.get(number=2)
    other = row.told.replace("make", "true")
    untouchable("UPDATE mcp_auditedcall SET told = %s WHERE number = 2", other)


def changed_with_its_hash() -> None:
    """As well as anybody can who has not the key."""
    row = AuditedCall.objects.get(number=2)
    row.told = row.told.replace("make", "true")
    row.hash = "0" * 64
    untouchable(
        "UPDATE mcp_auditedcall SET told = %s, hash = %s WHERE number = 2", row.told, row.hash
    )


def taken_out() -> None:
    untouchable("DELETE FROM mcp_auditedcall WHERE number = 2")


def taken_out_and_closed() -> None:
    taken_out()
    untouchable("UPDATE mcp_auditedcall SET number = 2 WHERE number = 3")


def put_in() -> None:
    last = AuditedCall.objects.get(number=3)
    AuditedCall.objects.create(
        organization=last.organization,
        number=4,
        previous=last.hash,
        hash="0" * 64,
        call=uuid4(),
        told="{}",
    )


def of_another_call() -> None:
    untouchable("UPDATE mcp_auditedcall SET call = %s WHERE number = 2", uuid4().hex)


def the_end_cut_off() -> None:
    untouchable("DELETE FROM mcp_auditedcall WHERE number = 3")


@pytest.mark.parametrize(
    ("tampers", "first"),
    [
        (changed, 2),
        (changed_with_its_hash, 2),
        (taken_out, 2),
        (taken_out_and_closed, 2),
        (put_in, 4),
        (of_another_call, 2),
        (the_end_cut_off, 3),
    ],
)
def test_it_names_the_first_row_that_was_tampered_with(
    laptop: Connector, tampers: Callable[[], None], first: int
) -> None:
    for _ in range(3):
        ended(laptop)
    auditing.write()
    assert verified()[0]
    tampers()
    is_whole, said = verified()
    assert not is_whole
    assert f"row {first} " in said


def test_it_says_where_another_key_is_in_use(laptop: Connector, settings: Any) -> None:
    ended(laptop)
    auditing.write()
    settings.KEY_PEPPER = "another pepper that is long enough for one"
    is_whole, said = verified()
    assert not is_whole
    assert "OPSCENTER_KEY_PEPPER" in said
