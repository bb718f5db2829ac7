"""How a request is answered: relayed to one upstream, or in turns with tools that run here."""

from collections.abc import Iterable
from typing import Protocol, Self

from accounts.principal import Principal
from billing import ledger
from billing.ledger import RecordId
from proxy import plans, relay, turns
from proxy.answer import Answer
from proxy.receipts import Step
from proxy.turns import Turns
from proxy.wire.body import MessagesRequest


class Stream(Protocol):
    """Blocks of whole events for the client."""

    answer: Answer

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """The end, whichever it was. Safe to call again."""


async def answered(
    request_id: RecordId,
    request: MessagesRequest,
    caller: Principal,
    *,
    query: str,
    headers: Iterable[tuple[bytes, bytes]],
    said: dict[str, str],
) -> Answer | Stream:
    """The answer to a request. Raises and says what relay.relay does."""
    plan = await plans.planned(request, caller, headers)
    if plan is None:
        return await relay.relay(
            request_id, request, caller, query=query, headers=headers, said=said
        )

    async def ask(turn: MessagesRequest, row: RecordId, parent: RecordId | None) -> relay.Answered:
        return await relay.relay(
            row,
            turn,
            caller,
            query=query,
            headers=plan.headers,
            said=said if parent is None else {},
            step=Step(parent_id=parent, agent=plan.agent),
            machine=plan.toolbox.of_machines,
        )

    first = await ask(plan.request, request_id, None)
    if isinstance(first, Answer):
        return first
    told = Turns(
        plan, caller, request_id, first, lambda turn: ask(turn, ledger.new_id(), request_id)
    )
    return told if request.stream else await turns.whole(told)
