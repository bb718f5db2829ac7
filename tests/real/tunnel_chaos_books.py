"""What must be true when the tunnel's chaos is over, by rows, journals, effects and callers."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests import gateway
from tests.real.machine import Event
from tests.real.tunnel_chaos_callers import Seen

Row = Mapping[str, Any]
OPEN = "SELECT count(*) AS n FROM mcp_toolcall WHERE finished_at IS NULL"
ROWS = """
    SELECT id::text, request_id AS word, state, outcome, fence, starts, has_effects, result
    FROM mcp_toolcall
"""


class Books:
    """The queue's rows, read over a connection of our own."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg.connect(database, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self._connection.close()

    def wait_until_all_ended(self, within_s: float) -> None:
        def count() -> int:
            return int(self._connection.execute(OPEN).fetchall()[0]["n"])

        gateway.eventually(lambda: count() == 0, within_s)

    def rows(self) -> dict[str, Row]:
        """All calls, by their words."""
        return {row["word"]: row for row in self._connection.execute(ROWS)}


def effects_in(notes: Path) -> Counter[str]:
    """How often each word has left a line."""
    return Counter(line.removeprefix("left ") for line in notes.read_text().splitlines())


def check_effects(rows: Mapping[str, Row], effects: Counter[str]) -> None:
    """None twice, none of a call that was never begun, and each that succeeded is there."""
    assert [word for word, times in effects.items() if times > 1] == []
    assert [word for word in effects if rows[word]["starts"] == 0] == []
    wanted = {
        word for word, row in rows.items() if row["has_effects"] and row["state"] == "succeeded"
    }
    assert wanted - effects.keys() == set()


def check_results(rows: Mapping[str, Row], ended: Iterable[Event]) -> None:
    """Every result that a connector wrote down is that of its call."""
    by_id = {row["id"]: row for row in rows.values()}
    lost = []
    for line in ended:
        row = by_id[line["id"]]
        if not row["has_effects"]:  # it may have run again, and ended so
            is_there = row["state"] in {"succeeded", "failed"}
        elif line["fence"] < row["fence"]:  # not begun by then, or it had not been handed out again
            is_there = line["outcome"] == "error"
        elif line["outcome"] == "done":
            is_there = row["state"] == "succeeded" and json.loads(row["result"]) == line["body"]
        else:
            is_there = row["outcome"] == line["outcome"]
        if not is_there:
            lost.append((line, dict(row)))
    assert lost == [], lost


def check_callers(rows: Mapping[str, Row], seen: Sequence[Seen]) -> None:
    """Everybody was told an end, and it is that of the row."""
    assert [one for one in seen if not one.state] == []
    assert [one for one in seen if rows[one.word]["state"] != one.state] == []
    assert {one.word for one in seen} == rows.keys()


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(int(len(values) * share), len(values) - 1)]
