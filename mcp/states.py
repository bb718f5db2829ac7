"""The life of a tool call, as a table.

`start` is the point of no return: before it a call may be handed out again, after it only one whose
tool has no effects. Such a one begins as it is handed out.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a call is."""

    QUEUED = "queued"
    APPROVAL = "approval"  # not begun, and a person must say whether it may
    LEASED = "leased"  # handed to a connector that has not begun
    RUNNING = "running"  # begun: its effects may have happened
    ORPHANED = "orphaned"  # begun, and its holder fell silent; a late result is still taken
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # never begun, and its deadline is over
    LOST = "lost"  # begun, and nobody will ever say how it ended


NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset(
        {
            State.LEASED,
            State.RUNNING,  # handed out and begun in one: its tool has no effects
            State.CANCELLED,
            State.EXPIRED,
        }
    ),
    State.APPROVAL: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.LEASED: frozenset(
        {State.QUEUED, State.APPROVAL, State.RUNNING, State.CANCELLED, State.EXPIRED}
    ),
    State.RUNNING: frozenset(
        {
            State.QUEUED,  # its lease ended, and its tool has no effects
            State.APPROVAL,  # it has none, and its machine asks before it really begins
            State.ORPHANED,
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
            State.LOST,
        }
    ),
    State.ORPHANED: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST}),
}
FINAL = frozenset(State) - NEXT.keys()
HELD = frozenset({State.LEASED, State.RUNNING})  # by a connector, under a lease


class Outcome(StrEnum):
    """How a connector says a call ended."""

    DONE = "done"  # the tool answered; its answer may say isError
    ERROR = "error"  # the local server answered with a JSON-RPC error, or could not be asked
    CANCELLED = "cancelled"  # stopped as asked
    INTERRUPTED = "interrupted"  # it was begun and nobody knows how it ended


class Verdict(StrEnum):
    """What the queue says to a result."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # this very result is there already
    CONFLICT = "conflict"  # another one is, or the call is not the sender's (any more)
    UNKNOWN = "unknown"  # no such call of this connector


class Decision(StrEnum):
    """What a policy says to a call."""

    ALLOW = "allow"
    ASK = "ask"  # a person must approve this exact call
    DENY = "deny"


class Asker(StrEnum):
    """Who wants a person's approval."""

    MACHINE = "machine"  # its own policy
    ORGANIZATION = "organization"


class Answer(StrEnum):
    """What became of a question."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"  # nobody said anything
    WITHDRAWN = "withdrawn"  # the call was cancelled, or is no longer the one that was shown


class Source(StrEnum):
    """Where a person gave the answer."""

    TERMINAL = "terminal"  # of the machine
    WEB = "web"
    API = "api"
