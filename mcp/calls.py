"""The queue of tool calls: its verbs. Every one is one UPDATE that may lose a race.

Sync, by the database's clock alone, and silent: whoever calls rings the bells. From the event loop
go through `accounts.reads.off_loop`. What each verb may change stands in `mcp.conditions`.
"""

from mcp.approving import Decided, UndecidedError, ask, decide
from mcp.conditions import GRACE_S, LEASE_S, MAX_DELIVERIES, RENEW_S, Decider, Held, Holder
from mcp.ending import MAX_RESULT_BYTES, End, cancel, conclude, finish, result_of
from mcp.enqueueing import (
    DEADLINE_S,
    MAX_ARGUMENT_BYTES,
    MAX_DEADLINE_S,
    MAX_QUEUED,
    MAX_QUEUED_ORGANIZATION,
    ArgumentsTooLargeError,
    NewCall,
    OtherCallError,
    QueueFullError,
    deny,
    enqueue,
    enqueue_or_find,
)
from mcp.holding import (
    Denial,
    Renewal,
    SupersededError,
    note_progress,
    release,
    renew,
    start,
)
from mcp.leasing import Claimed, claim, claim_begun
from mcp.questions import APPROVAL_S, Question
from mcp.reaping import Reaped, purge, reap
from mcp.texts import failure

__all__ = [
    "APPROVAL_S",
    "DEADLINE_S",
    "GRACE_S",
    "LEASE_S",
    "MAX_ARGUMENT_BYTES",
    "MAX_DEADLINE_S",
    "MAX_DELIVERIES",
    "MAX_QUEUED",
    "MAX_QUEUED_ORGANIZATION",
    "MAX_RESULT_BYTES",
    "RENEW_S",
    "ArgumentsTooLargeError",
    "Claimed",
    "Decided",
    "Decider",
    "Denial",
    "End",
    "Held",
    "Holder",
    "NewCall",
    "OtherCallError",
    "Question",
    "QueueFullError",
    "Reaped",
    "Renewal",
    "SupersededError",
    "UndecidedError",
    "ask",
    "cancel",
    "claim",
    "claim_begun",
    "conclude",
    "decide",
    "deny",
    "enqueue",
    "enqueue_or_find",
    "failure",
    "finish",
    "note_progress",
    "purge",
    "reap",
    "release",
    "renew",
    "result_of",
    "start",
]
