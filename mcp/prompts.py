"""What a machine's session has asked a person, and how it stands."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q

from accounts import audit
from mcp import calls, consent, frames
from mcp.models import Approval, Connector
from mcp.states import Answer, Asker, Source
from mcp.threads import off_loop

Key = tuple[UUID, str]  # a call, and the digest that was asked about
UNKNOWN = "unknown"


class Prompts:
    """The machine may have a prompt in its terminal for each of them."""

    def __init__(self, holder: calls.Holder, user_id: int) -> None:
        self._holder = holder
        self._user_id = user_id
        self._open: set[Key] | None = None  # what an earlier session asked is looked for once

    async def ask(self, frame: frames.Ask) -> list[frames.Frame]:
        """The answer to an ask."""
        question = calls.Question(
            asked_by=Asker.MACHINE,
            digest=frame.digest,
            reason=frame.reason.replace("\0", "\ufffd"),
            here_only=frame.here_only,
            fence=frame.fence,
        )
        said = await _ask(self._holder, frame.id, question)
        if isinstance(said, Answer) and said is not Answer.PENDING:
            return [_settled((frame.id, frame.digest), said)]
        if isinstance(said, str):
            return [frames.Denied(id=frame.id, fence=frame.fence, reason=said)]
        (await self._known()).add((frame.id, frame.digest))
        return [frames.Asked(id=frame.id, fence=frame.fence, remaining_ms=said)]

    async def decide(self, frame: frames.Decide) -> list[frames.Frame]:
        """The answer to what a person said in the terminal."""
        key = (frame.id, frame.digest)
        decider = await _at_terminal(self._holder, self._user_id)
        which = Q(call_id=frame.id, digest=frame.digest)
        try:
            said = await consent.decide(decider, which, digest=frame.digest, approve=frame.approve)
            answer: str = said.answer
        except calls.UndecidedError as error:
            answer = error.answer or UNKNOWN
        (await self._known()).discard(key)
        return [_settled(key, answer)]

    async def settled(self) -> list[frames.Frame]:
        """Word of the prompts that may go away, for somebody else has answered, or nobody."""
        known = await self._known()
        if not known:
            return []
        answers = await _answers(self._holder, known)
        closed = {key: answers.get(key, UNKNOWN) for key in known}
        closed = {key: said for key, said in closed.items() if said != Answer.PENDING}
        known.difference_update(closed)
        return [_settled(key, said) for key, said in closed.items()]

    async def _known(self) -> set[Key]:
        if self._open is None:
            self._open = await _pending(self._holder)
        return self._open


def _settled(key: Key, state: str) -> frames.Settled:
    said: Any = state
    return frames.Settled(id=key[0], digest=key[1], state=said)


@off_loop
def _pending(holder: calls.Holder) -> set[Key]:
    rows = _of(holder).filter(state=Answer.PENDING, asked_by=Asker.MACHINE)
    return set(rows.values_list("call_id", "digest"))


@off_loop
def _answers(holder: calls.Holder, keys: Collection[Key]) -> dict[Key, str]:
    """Of several questions in the same words the last counts."""
    rows = _of(holder).filter(call_id__in=[call_id for call_id, _ in keys]).order_by("created_at")
    return {(call, digest): state for call, digest, state in rows.values_list(*_ANSWER)}


_ANSWER = ("call_id", "digest", "state")


def _of(holder: calls.Holder) -> Any:
    return Approval.objects.filter(
        connector_id=holder.connector_id, organization_id=holder.organization_id
    )


@off_loop
def _at_terminal(holder: calls.Holder, user_id: int) -> calls.Decider:
    """Whoever sits there acts for the owner of the machine."""
    named = User.objects.filter(id=user_id).values_list("username", flat=True)
    machine = Connector.objects.filter(id=holder.connector_id).values_list("name", flat=True)
    return calls.Decider(
        actor=audit.user(user_id),
        name=named.first() or "",
        source=Source.TERMINAL,
        place=machine.first() or "",
        user_id=user_id,
        organizations=[holder.organization_id],
        holder=holder,
    )


_ask = off_loop(calls.ask)
