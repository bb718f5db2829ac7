"""An installation of the former release keeps what it has when it is upgraded."""

from pathlib import Path

from tests import former


def test_it_turns_plans_into_subscriptions_and_keeps_the_ledger(tmp_path: Path) -> None:
    former.turns_plans_into_subscriptions_and_keeps_the_ledger(
        *former.sqlite(tmp_path / "former.sqlite3")
    )


def test_it_keeps_tool_calls_and_what_guards_them(tmp_path: Path) -> None:
    former.keeps_tool_calls_and_what_guards_them(*former.sqlite(tmp_path / "former.sqlite3"))
