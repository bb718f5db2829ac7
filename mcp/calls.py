"""The queue of tool calls: its verbs. Every one is one UPDATE that may lose a race.

Sync, by the database's clock alone, and silent: whoever calls rings the bells. From the event loop
go through `accounts.reads.off_loop`. What each verb may change stands in `mcp.conditions`.
"""

from mcp.conditions import GRACE_S, LEASE_S, MAX_DELIVERIES, RENEW_S, Held, Holder
from mcp.ending import MAX_RESULT_BYTES, End, cancel, conclude, failure, finish, result_of
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
    enqueue,
    enqueue_or_find,
)
from mcp.holding import (
    Claimed,
    Denial,
    Renewal,
    SupersededError,
    claim,
    claim_begun,
    note_progress,
    release,
    renew,
    start,
)
from mcp.reaping import Reaped, purge, reap

__all__ = [
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
    "Denial",
    "End",
    "Held",
    "Holder",
    "NewCall",
    "OtherCallError",
    "QueueFullError",
    "Reaped",
    "Renewal",
    "SupersededError",
    "cancel",
    "claim",
    "claim_begun",
    "conclude",
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
