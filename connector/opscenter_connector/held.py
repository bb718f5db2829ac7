"""One call that is here, and how far it has come."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from opscenter_connector import frames
from opscenter_connector.journal import End, Entry
from opscenter_connector.results import sayable

DENY = "deny"
DECISION = "opscenter/decision"  # in an error's data: this machine's policy said so
NOT_BEGUN = -32000  # JSON-RPC's code for an error of the one who answers
INTERRUPTED = End(outcome="interrupted")
CANCELLED = End(outcome="cancelled")


class Permission(Enum):
    """What the gateway has said to this call under this fence."""

    NOTED = "noted"  # not asked yet: the journal is being written
    ASKED = "asked"
    GRANTED = "granted"


@dataclass(slots=True, kw_only=True)
class Held:
    """One call that is here."""

    call: frames.Call
    permission: Permission = Permission.NOTED
    run: int | None = None  # the number of the run that is under way
    began: bool = False  # it has run, or may have
    end: End | None = None
    kept: bool = False  # the end is on disk, or cannot get there
    cancelled: bool = False
    ours: bool = True  # False: the lease has ended; it runs on, and its late result still counts
    asked_earlier: bool = False  # in an older session: the answer may have been yes
    refusal: str = ""  # why it must not run here, whatever the gateway says
    by: str = ""  # what the policy has decided; empty until it has
    sent_ago: int | None = None  # ticks since the result was sent

    @property
    def names(self) -> tuple[str, int]:
        return self.call.id, self.call.fence

    @property
    def running(self) -> bool:
        return self.run is not None

    @property
    def waits(self) -> bool:
        """It has neither been run nor been given an end."""
        return self.run is None and self.end is None

    @property
    def refused(self) -> End:
        """Why it does not run, and the policy's word where that is why."""
        decision = self.by if self.refusal and self.by == DENY else ""
        return not_begun(self.refusal or "the connector is stopping", decision=decision)

    @property
    def settled(self) -> bool:
        """It has an end that may go out."""
        return self.end is not None and self.kept and self.permission is Permission.GRANTED

    @property
    def result(self) -> frames.Result:
        """What the gateway gets, again and again until it acknowledges it."""
        if self.end is None:
            raise ValueError("a call that has not ended has no result")
        outcome, body = self.end.outcome, self.end.body
        return frames.Result(
            id=self.call.id,
            fence=self.call.fence,
            outcome=outcome,
            result=body if outcome == "done" else None,
            error=body if outcome == "error" else None,
        )


def recovered(entry: Entry, end: End) -> Held:
    """From the journal. Whether it may have begun is no question any more."""
    call = frames.Call(
        id=entry.id,
        fence=entry.fence,
        server="",
        method="",
        params={},
        has_effects=True,  # others are not in it
        remaining_ms=0,
    )
    if end.body is not None:  # written by a version that let more through, perhaps
        end = replace(end, body=sayable(end.body))
    return Held(call=call, permission=Permission.GRANTED, began=True, end=end, kept=True)


def not_begun(reason: str, *, decision: str = "") -> End:
    """The answer for a call that was let begin and did not; the policy's, if `decision` is one."""
    body: dict[str, Any] = {"code": NOT_BEGUN, "message": f"{reason}; the call was not begun"}
    if decision:
        body["data"] = {DECISION: decision}
    return End(outcome="error", body=body)


def release(call: frames.Call, reason: str) -> frames.Release:
    return frames.Release(id=call.id, fence=call.fence, reason=reason)
