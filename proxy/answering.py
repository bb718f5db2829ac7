"""How a request is answered: relayed to one upstream, or in turns with tools that run here."""

from collections.abc import Iterable
from typing import Protocol, Self

from accounts.principal import Principal
from billing import ledger
from billing.ledger import RecordId
from proxy import counting, plans, relay, story
from proxy.answer import Answer
from proxy.plans import Part, Plan
from proxy.receipts import Step
from proxy.story import Story
from proxy.turns import Asking
from proxy.wire.body import MessagesRequest

RawHeaders = Iterable[tuple[bytes, bytes]]


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
    headers: RawHeaders,
    said: dict[str, str],
) -> Answer | Stream:
    """The answer to a request. Raises and says what relay.relay does."""
    plan = await plans.planned(request_id, request, caller, headers)
    if plan is None:
        return await relay.relay(
            request_id, request, caller, query=query, headers=headers, said=said
        )
    asker = _Asker(request_id, plan, caller, query, said)
    told = Story(
        plan,
        Asking(
            caller=caller,
            request_id=f"req_{request_id.hex}",
            manner=plan.manner,
            ask=asker.ask,
        ),
    )
    if refusal := await told.begin():
        return refusal
    return told if request.stream else await story.whole(told)


async def counted(
    request: MessagesRequest, caller: Principal, *, query: str, headers: RawHeaders
) -> Answer:
    """The tokens of a request, as the first upstream would be asked for its answer.

    Raises what counting.counted and plans.planned do.
    """
    plan = await plans.planned(None, request, caller, headers)
    if plan is not None:
        request, headers = plan.parts[0].request, plan.headers
    return await counting.counted(request, caller, query=query, headers=headers)


class _Asker:
    """Asks upstreams for one answer; each time is a row of the ledger, and the first the root."""

    def __init__(
        self, request_id: RecordId, plan: Plan, caller: Principal, query: str, said: dict[str, str]
    ) -> None:
        self._root, self._plan, self._caller = request_id, plan, caller
        self._query, self._said = query, said
        self._has_root = False

    async def ask(self, request: MessagesRequest, part: Part) -> relay.Answered:
        """One turn of a part."""
        is_root, self._has_root = not self._has_root, True
        return await relay.relay(
            self._root if is_root else ledger.new_id(),
            request.streaming(),  # also where the client is told all at once
            self._caller,
            query=self._query,
            headers=self._plan.headers,
            said=self._said if is_root else {},
            step=Step(
                parent_id=None if is_root else self._root,
                follows=not is_root,
                agent=part.agent,
                requested_model=self._plan.model,
            ),
            machine=part.toolbox.of_machines,
        )
