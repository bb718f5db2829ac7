"""The page of a row of the ledger: the whole request as a tree."""

import json
import re

import pytest
from django.conf import settings
from django.test import Client

from accounts.tests.people import Person
from billing import money
from billing.models import UsageRecord
from billing.tests.admin import ESCAPED, HTML, operator, record
from mcp.models import Approval, Connector
from mcp.states import State
from mcp.tests import machines
from opscenter.tests import request_page
from opscenter.tests.request_page import (
    BAR,
    LEDGER,
    at,
    call,
    page_of,
    row,
    steps_in,
    text_of,
    tree_of,
)

__all__ = ["operator"]

alice, laptop = request_page.alice, request_page.laptop


def test_it_shows_the_steps_with_their_calls(
    operator: Client, alice: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10, agent="writer", tool_calls=2, first_byte_ms=2_000, cost_nano=10**9)
    second = row(alice, 20, 40, agent="tester", parent_id=root.id, target_model="llama")
    read = call(laptop, root, root.id, tool="read")
    ran = call(laptop, root, root.id, tool="bash", times=(10, 10, 20))
    tree = tree_of(operator, root)
    first, last = steps_in(tree)
    assert first == (
        "1 writer completed this row $1.00"
        " qwen3:8b at scripted · 10.0 s · first byte after 2.0 s 123 in · 0 out"
        " files/read succeeded on laptop · waited 1.0 s · ran 1.0 s"
        " files/bash succeeded on laptop · waited 0 ms · ran 10.0 s"
    )
    assert last.startswith("2 tester completed $0.00 llama at scripted · 20.0 s")
    for page in (
        *(f"{LEDGER}{one.id}/change/" for one in (root, second)),
        *(f"/admin/mcp/toolcall/{one.id}/change/" for one in (read, ran)),
    ):
        assert f'href="{page}"' in tree
        assert operator.get(page).status_code == 200
    back = operator.get(f"/admin/mcp/toolcall/{read.id}/change/").content.decode()
    assert f'href="{LEDGER}{root.id}/change/"' in back


def test_it_shows_what_ran_at_once_side_by_side(
    operator: Client, alice: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10, first_byte_ms=1_000)
    row(alice, 30, 40, parent_id=root.id)
    call(laptop, root, root.id, times=(10, 11, 18))
    call(laptop, root, root.id, times=(10, 10, 30))
    bars = [tuple(map(float, bar)) for bar in BAR.findall(tree_of(operator, root))]
    assert bars == [(0, 25, 10), (25, 20, 12.5), (25, 50, 0), (75, 25, 0)]


def test_it_says_what_all_of_it_comes_to(
    operator: Client, alice: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10, input_tokens=1_000, output_tokens=5, cost_nano=1_000_000_001)
    failed = row(alice, 10, 20, parent_id=root.id, state="failed", cache_read_tokens=7, cost_nano=2)
    record(alice, state="correction", corrects_id=root.id, cost_nano=-1, input_tokens=0)
    record(alice, state="correction", corrects_id=failed.id, cost_nano=20, input_tokens=0)
    call(laptop, root, failed.id, State.LOST, times=(20, 20, 25))
    row(alice, 0, 10, cost_nano=10**12)  # another request
    head = text_of(tree_of(operator, root)[:2500])
    mine = UsageRecord.objects.exclude(cost_nano=10**12)
    total = money.exact(sum(one.cost_nano for one in mine))
    assert total == "$1.000000022"
    assert f"req_{root.id.hex} ended" in head
    assert "Asked for claude-crew-team Steps 2, 1 failed Tool calls 1, 1 failed" in head
    assert f"Cost {total}, corrected by $0.000000019 Time 25.0 s" in head
    assert "Tokens 1,123 in · 5 out · 7 read from cache" in head


def test_it_shows_the_same_from_each_of_its_rows(
    operator: Client, alice: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10, agent="writer")
    step = row(alice, 10, 20, agent="tester", parent_id=root.id)
    correction = record(alice, state="correction", corrects_id=step.id, cost_nano=1)
    call(laptop, root, step.id)
    marked = [
        [("this row" in one, "files/read" in one) for one in steps_in(tree_of(operator, shown))]
        for shown in (root, step, correction)
    ]
    assert marked == [
        [(True, False), (False, True)],
        [(False, False), (True, True)],
        [(False, False), (True, True)],
    ]
    plain = [text_of(tree_of(operator, one)).replace("this row ", "") for one in (root, step)]
    assert plain[0] == plain[1]


def test_it_is_one_line_for_a_request_that_was_only_relayed(
    operator: Client, alice: Person
) -> None:
    shown = row(alice, 0, 2, requested_model="opus", tool_calls=1, first_byte_ms=500)
    row(alice, 0, 2)
    assert text_of(tree_of(operator, shown)) == (
        "qwen3:8b completed $0.00 opus → qwen3:8b at scripted"
        " · 2.0 s · first byte after 500 ms 123 in · 0 out"
    )


def test_it_shows_nothing_for_a_correction_of_what_is_gone(operator: Client, alice: Person) -> None:
    root = row(alice, 0, 2)
    correction = record(alice, state="correction", corrects_id=root.id, cost_nano=1)
    UsageRecord.objects.filter(id=root.id).delete()
    assert '<section class="tree' not in page_of(operator, correction)


def test_it_shows_what_still_runs(operator: Client, alice: Person, laptop: Connector) -> None:
    root = row(alice, 0, 10, agent="cook")
    row(alice, 1, None, agent="baker", parent_id=root.id)
    call(laptop, root, root.id, State.RUNNING, times=(10, 11, None))
    call(laptop, root, root.id, State.APPROVAL, times=(10, None, None), asked_by="machine")
    tree = tree_of(operator, root)
    assert f"req_{root.id.hex} running" in text_of(tree)
    assert "Time until" in text_of(tree)
    cook, baker = steps_in(tree)
    assert "files/read running on laptop · waited 1.0 s" in cook
    assert "files/read waits for a person on laptop" in cook
    assert baker.startswith("2 baker running $0.00 qwen3:8b at scripted 123 in")
    ends = [float(left) + float(width) for left, width, _ in BAR.findall(tree)]
    assert ends[1:] == pytest.approx([100] * 3, abs=0.01)  # all but the first go on


def test_it_shows_what_is_left_where_calls_were_deleted(operator: Client, alice: Person) -> None:
    root = row(alice, 0, 10, tool_calls=2)
    row(alice, 20, 30, parent_id=root.id)
    first, last = steps_in(tree_of(operator, root))
    assert "It called 2 tools; no call is here" in first
    assert f"more than {settings.MCP_KEEP_DAYS} days ago and were deleted." in first
    assert "It called" not in last


def test_it_shows_what_is_left_where_rows_are_gone(
    operator: Client, alice: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10)
    step = row(alice, 10, 20, parent_id=root.id)
    call(laptop, root, root.id)
    UsageRecord.objects.filter(id=root.id).delete()
    tree = tree_of(operator, step)
    assert f"req_{root.id.hex}, whose own row is not there" in text_of(tree)
    shown, stray = steps_in(tree)
    assert shown.startswith("1 qwen3:8b completed this row")
    assert stray.startswith("Of no step")
    assert "files/read succeeded on laptop" in stray


def test_it_says_why_something_failed(operator: Client, alice: Person, laptop: Connector) -> None:
    root = row(alice, 0, 10)
    row(alice, 1, 2, parent_id=root.id, state="failed", error_type="timeout_error", status=504)
    long = {"content": [{"type": "text", "text": "No such file. " + "x" * 10_000}]}
    refused = {"code": -32000, "message": "Denied by its policy."}
    failed = call(laptop, root, root.id, State.FAILED, result=json.dumps(long))
    call(laptop, root, root.id, State.FAILED, outcome="error", result=json.dumps(refused))
    call(laptop, root, root.id, State.LOST)
    tree = text_of(tree_of(operator, root))
    assert "The upstream fell silent (timeout_error, HTTP 504)." in tree
    assert "No such file. xxx" in tree
    assert "x" * 300 not in tree
    assert "Denied by its policy." in tree
    assert "Outcome unknown" in tree
    assert "x" * 300 in operator.get(f"/admin/mcp/toolcall/{failed.id}/change/").content.decode()


def test_it_says_what_a_person_answered(operator: Client, alice: Person, laptop: Connector) -> None:
    root = row(alice, 0, 10)
    asked = call(laptop, root, root.id, State.SUCCEEDED, asked_by="machine")
    for second, state, decider in ((1, "withdrawn", ""), (2, "approved", "olga")):
        Approval.objects.create(
            organization=alice.organization,
            user=alice.user,
            connector=laptop,
            call=asked,
            asked_by="machine",
            fence=1,
            digest="d" * 64,
            state=state,
            created_at=at(second),
            expires_at=at(300),
            decided_at=at(11),
            decided_by="user:1",
            decider=decider,
            source="web",
        )
    assert "ran 1.0 s · approved by olga (web)" in text_of(tree_of(operator, root))


def test_it_shows_names_that_are_html_as_text(operator: Client, alice: Person) -> None:
    connector = machines.machine(alice, HTML)
    fields = {"target_model": HTML, "served_model": f"{HTML}2", "error_type": HTML}
    root = row(alice, 0, 10, agent=HTML, requested_model=HTML, state="failed", **fields)
    row(alice, 1, 2, parent_id=root.id, upstream=HTML, moved_from=HTML, requested_model="other")
    said = json.dumps({"content": [{"type": "text", "text": HTML}]})
    call(connector, root, root.id, State.FAILED, server=HTML, tool=HTML, result=said)
    page = page_of(operator, root)
    assert HTML not in page
    assert page.count(ESCAPED) >= 10


def test_it_asks_no_other_host_for_anything(
    operator: Client, alice: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10)
    call(laptop, root, root.id)
    assert not re.search(r"<(script|img|iframe)\b|//|url\(|@import", tree_of(operator, root))
