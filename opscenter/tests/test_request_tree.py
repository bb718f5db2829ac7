"""A request as a tree: which call belongs to which step, when it was, and what is left out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from billing.tokens import TokenCounts
from opscenter.request_tree import Call, Found, Step, Sums, Tally, Tree, grown

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(seconds=100)
ROOT, SECOND, THIRD, GONE = (UUID(int=number) for number in range(1, 5))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def step(id_: UUID, began: float = 0, ended: float | None = 10, **fields: Any) -> Step:
    values: dict[str, Any] = {
        "agent": "",
        "requested_model": "claude-opus-5-5",
        "target_model": "claude-opus-5-5",
        "served_model": "",
        "upstream": "anthropic",
        "moved_from": "",
        "attempts": 1,
        "state": "admitted" if ended is None else "completed",
        "status": 200,
        "error_type": "",
        "stop_reason": "end_turn",
        "flags": "",
        "counts": TokenCounts(),
        "cost_nano": 0,
        "called": 0,
        "first_byte_ms": None,
        "longest_silence_ms": None,
    }
    end = None if ended is None else at(ended)
    return Step(id=id_, began=at(began), ended=end, **values | fields)


def call(step_id: UUID | None, number: int = 1, **fields: Any) -> Call:
    values: dict[str, Any] = {
        "server": "files",
        "tool": "read",
        "machine": "laptop",
        "state": "succeeded",
        "made": at(10),
        "started": at(11),
        "finished": at(14),
    }
    return Call(id=UUID(int=100 + number), step=step_id, **values | fields)


def tally(calls: int = 1, **fields: Any) -> Tally:
    values: dict[str, Any] = {"failed": 0, "running": 0, "first": at(10), "last": at(14)}
    return Tally(calls=calls, **values | fields)


def found(*steps: Step, **fields: Any) -> Found:
    sums = Sums(
        steps=len(steps),
        failed=0,
        running=sum(one.ended is None for one in steps),
        counts=TokenCounts(),
        cost_nano=0,
        began=min(one.began for one in steps),
        ended=max((one.ended for one in steps if one.ended), default=None),
    )
    values: dict[str, Any] = {"root_id": ROOT, "marked": ROOT, "sums": sums, "steps": steps}
    return Found(**values | fields)


def lines(tree: Tree) -> list[tuple[UUID | None, list[UUID]]]:
    """Each step with its calls."""
    nodes = [*tree.nodes, *filter(None, (tree.beyond, tree.stray))]
    return [
        (node.step.id if node.step else None, [leaf.call.id for leaf in node.leaves])
        for node in nodes
    ]


def test_it_puts_each_call_under_its_step() -> None:
    calls = [call(SECOND, 1), call(ROOT, 2), call(SECOND, 3), call(None, 4)]
    tree = grown(
        found(
            step(ROOT),
            step(SECOND, 20, 30),
            tallies={SECOND: tally(2, failed=1), ROOT: tally(), None: tally()},
            calls=calls,
        ),
        NOW,
    )
    ids = [one.id for one in calls]
    assert lines(tree) == [(ROOT, [ids[1]]), (SECOND, [ids[0], ids[2]]), (None, [ids[3]])]
    assert (tree.calls, tree.failed_calls, tree.is_running, tree.is_plain) == (4, 1, False, False)
    assert [node.number for node in tree.nodes] == [1, 2]


def test_it_lasts_from_the_first_step_to_whatever_ends_last() -> None:
    only_steps = found(step(ROOT, 1, 5), step(SECOND, 6, 9))
    assert grown(only_steps, NOW).whole.seconds == 8
    with_calls = replace(only_steps, tallies={SECOND: tally(last=at(21))})
    assert grown(with_calls, NOW).whole.seconds == 20
    runs = found(step(ROOT, 1, 5), step(SECOND, 6, None))
    assert (grown(runs, NOW).whole.seconds, grown(runs, NOW).is_running) == (99, True)
    waits = replace(only_steps, tallies={SECOND: tally(running=1, last=None)})
    assert (grown(waits, NOW).whole.seconds, grown(waits, NOW).is_running) == (99, True)


def test_it_shows_what_ran_at_once_at_once() -> None:
    calls = [call(ROOT, 1, made=at(10), started=at(10)), call(ROOT, 2, finished=at(20))]
    tree = grown(found(step(ROOT), tallies={ROOT: tally(2, last=at(20))}, calls=calls), NOW)
    first, second = (leaf.bar for leaf in tree.nodes[0].leaves)
    assert (first.left, first.width, first.waiting) == (50, 20, 0)
    assert (second.left, second.width, second.waiting) == pytest.approx((50, 50, 10))
    assert tree.nodes[0].calls_bar is not None
    assert (tree.nodes[0].calls_bar.left, tree.nodes[0].calls_bar.width) == (50, 50)


def test_it_tells_waiting_for_the_first_byte_from_answering() -> None:
    steps = [step(ROOT, 0, 10, first_byte_ms=2500), step(SECOND, 0, 10), step(THIRD, 0, None)]
    tree = grown(found(*steps), at(10))
    bars = [node.bar for node in tree.nodes if node.bar]
    assert [(bar.width, bar.waiting) for bar in bars] == [(100, 25), (100, 0), (100, 100)]


def test_it_counts_what_it_leaves_out() -> None:
    some = found(step(ROOT), step(SECOND), tallies={ROOT: tally(7)}, calls=[call(ROOT)])
    tree = grown(replace(some, sums=replace(some.sums, steps=9)), NOW)
    assert (tree.more_steps, tree.nodes[0].more_calls, tree.nodes[1].more_calls) == (7, 6, 0)
    beyond = replace(some, sums=replace(some.sums, steps=9), marked=THIRD, beyond=step(THIRD))
    tree = grown(beyond, NOW)
    assert tree.more_steps == 6
    assert tree.beyond is not None
    assert (tree.beyond.is_marked, tree.beyond.number) == (True, 0)
    assert [node.is_marked for node in tree.nodes] == [False, False]


def test_it_keeps_the_calls_of_a_step_whose_row_is_gone() -> None:
    made = [call(GONE, 1), call(None, 2)]
    tallies = {
        GONE: tally(3, failed=1, last=at(30)),
        None: tally(first=at(2), last=None, running=1),
    }
    tree = grown(found(step(ROOT), tallies=tallies, calls=made), NOW)
    assert lines(tree) == [(ROOT, []), (None, [one.id for one in made])]
    assert tree.stray is not None
    assert tree.stray.tally == Tally(calls=4, failed=1, running=1, first=at(2), last=at(30))
    left_out = found(step(ROOT), tallies={GONE: tally()})
    left_out = replace(left_out, sums=replace(left_out.sums, steps=2))
    assert grown(left_out, NOW).stray is None  # it may be the step that is left out
    assert grown(left_out, NOW).calls == 1


def test_it_is_plain_where_nothing_else_belongs_to_it() -> None:
    assert grown(found(step(ROOT)), NOW).is_plain
    assert not grown(found(step(ROOT), step(SECOND)), NOW).is_plain
    assert not grown(found(step(ROOT), tallies={ROOT: tally()}), NOW).is_plain
    assert not grown(found(step(SECOND), marked=SECOND), NOW).is_plain  # its root is gone
    corrected = found(step(ROOT))
    assert not grown(replace(corrected, sums=replace(corrected.sums, corrections=1)), NOW).is_plain


def test_it_opens_what_there_is_room_for_and_what_failed() -> None:
    few = found(step(ROOT), step(SECOND), tallies={ROOT: tally(30), SECOND: tally()})
    assert [node.is_open for node in grown(few, NOW).nodes] == [True, True]
    tallies = {ROOT: tally(50), SECOND: tally(50), THIRD: tally(50, failed=1)}
    many = found(step(ROOT), step(SECOND), step(THIRD), tallies=tallies, marked=ROOT)
    assert [node.is_open for node in grown(many, NOW).nodes] == [True, False, True]
