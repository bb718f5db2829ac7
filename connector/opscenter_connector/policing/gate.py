"""Decides about each call: by the policy, by what its tool was before, by what a person said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opscenter_connector import frames, policy
from opscenter_connector.policing.pins import Pins
from opscenter_connector.policing.questions import Questions
from opscenter_connector.policy import LOCAL, Call, Decision, Judged, Policy

CHANGED = "the tool says something else of itself than when it was allowed"
ANOTHER = "the approval that came with it is of something else"
NOBODY = "a person must approve it in this machine's terminal, and there is none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a call that is here."""

    decision: Decision
    reason: str
    digest: str = ""  # of the exact call, where a person is asked or was
    approved: bool = False

    @property
    def told(self) -> str:
        """For the journal."""
        return f"approved {self.digest}" if self.approved else self.decision.value


class Gate:
    """The policy in effect, with its memory."""

    def __init__(
        self,
        rules: Policy,
        pins: Pins,
        questions: Questions,
        *,
        layer: Callable[[], str],
        attended: bool,
    ) -> None:
        self.policy = rules
        self._layer = layer
        self._versions: dict[str, str] = {}
        self._pins = pins
        self._questions = questions
        self._attended = attended and "terminal" in rules.approve_from
        self._digests: dict[tuple[str, str], tuple[Mapping[str, Any], str]] = {}

    @property
    def layer(self) -> str:
        """What holds commands now."""
        return self._layer()

    @property
    def asks_here(self) -> bool:
        """Whether a person is asked in this terminal."""
        return self._attended

    @property
    def here_only(self) -> bool:
        return "gateway" not in self.policy.approve_from

    def verdict(self, said: frames.Call, definition: Mapping[str, Any] | None) -> Verdict:
        """`definition` is what the server says of the tool now; None: it has no such tool."""
        arguments = arguments_of(said)
        if definition is None:
            reason = f"the server {said.server} has no tool {said.tool!a}"
            return Verdict(decision=Decision.DENY, reason=reason)
        if arguments is None:
            return Verdict(decision=Decision.DENY, reason="its arguments are no object")
        call = Call(server=said.server, tool=said.tool, arguments=arguments, definition=definition)
        judged = self._judged(call)
        if judged.decision is not Decision.ASK:
            return Verdict(decision=judged.decision, reason=judged.reason)
        return self._asked(said, call, judged.reason)

    def begins(self, said: frames.Call, definition: Mapping[str, Any]) -> None:
        """It runs now: what was approved is spent, and the tool is known as it is."""
        self._questions.used(said.id)
        if said.server != LOCAL:
            digest = self._digest(said.server, said.tool, definition)
            self._pins.put(said.server, said.tool, digest)

    def _judged(self, call: Call) -> Judged:
        judged = policy.judge(self.policy, call, self.layer)
        if call.server == LOCAL:
            return judged  # what it says comes with this program
        pin = self._pins.of(call.server, call.tool)
        if pin is None or pin == self._digest(call.server, call.tool, call.definition):
            return judged
        changed = Judged(decision=self.policy.changed_of(call.server), reason=CHANGED)
        return policy.strictest(changed, judged)

    def _asked(self, said: frames.Call, call: Call, reason: str) -> Verdict:
        """Whether a person has approved this very call, from where it counts."""
        try:
            digest = policy.digest_of(
                call.server,
                call.tool,
                call.arguments,
                self._digest(call.server, call.tool, call.definition),
                self._version(call.server),
            )
        except (ValueError, RecursionError):
            reason = "its arguments hold what JSON cannot say, so nobody can approve them"
            return Verdict(decision=Decision.DENY, reason=reason)
        if self._questions.given(said.id, digest) or self._counts(said.approval, digest):
            return Verdict(decision=Decision.ALLOW, reason=reason, digest=digest, approved=True)
        if self.here_only and not self._attended:
            return Verdict(decision=Decision.DENY, reason=f"{reason}; {NOBODY}")
        if said.approval is not None:
            reason = f"{reason}; {ANOTHER}"
        return Verdict(decision=Decision.ASK, reason=reason, digest=digest)

    def _version(self, server: str) -> str:
        """For servers besides the built-in one it does not matter what holds commands."""
        layer = self.layer if server == LOCAL else ""
        if layer not in self._versions:
            self._versions[layer] = policy.version_of(self.policy, layer)
        return self._versions[layer]

    def _counts(self, approval: frames.Approved | None, digest: str) -> bool:
        return approval is not None and approval.digest == digest and not self.here_only

    def _digest(self, server: str, tool: str, definition: Mapping[str, Any]) -> str:
        """Kept while the definition is the same object: some have 64 KiB."""
        known = self._digests.get((server, tool))
        if known is not None and known[0] is definition:
            return known[1]
        digest = policy.definition_digest(definition)
        self._digests[server, tool] = definition, digest
        return digest


def arguments_of(said: frames.Call) -> Mapping[str, Any] | None:
    """What the tool would get, or None if that is nothing a tool can get."""
    found = said.params.get("arguments")
    if found is None:
        return {}
    return found if isinstance(found, dict) else None
