"""How the writers of several processes get along on PostgreSQL. SQLite has one at a time anyway."""

from collections.abc import Iterable
from hashlib import blake2b

from django.db import connection

from accounts import planned
from accounts.planned import Statement

# What PostgreSQL allows a transaction of ours before it ends it. Whoever waits for the writer is
# told after 10 s (writer.WAIT_S).
LOCK_S = 5  # to wait for the locks of another process
STATEMENT_S = 20  # for one statement on a batch
FROZEN_S = 10  # to say nothing in the middle: such a process is frozen, and others want its locks


def bound_waits() -> None:
    """Have the server itself end what hangs, on this thread's connection.

    A process that is frozen in the middle of a transaction must not keep its locks, nor may any
    other wait for them for long.
    """
    if connection.vendor == "sqlite":
        return
    connection.ensure_connection()
    if getattr(connection, "bounded", None) is connection.connection:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s,"
            " false), set_config('idle_in_transaction_session_timeout', %s, false)",
            [f"{LOCK_S}s", f"{STATEMENT_S}s", f"{FROZEN_S}s"],
        )
    connection.bounded = connection.connection  # type: ignore[attr-defined]  # until it is another


def take_turns(names: Iterable[str]) -> None:
    """Lock what the names stand for until the commit, always in one order.

    Two processes that change the same sums would else wait for each other in a circle.
    """
    for statement in turns(names):
        planned.run(statement)


def turns(names: Iterable[str]) -> list[Statement]:
    """What `take_turns` says to the database: a statement or none."""
    if connection.vendor == "sqlite":
        return []
    numbers = sorted(
        {
            int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
            for name in names
        }
    )
    lock = "SELECT count(pg_advisory_xact_lock(one)) FROM unnest(%s::bigint[]) AS one"
    return [Statement(lock, [numbers], lambda cursor: None)] if numbers else []
