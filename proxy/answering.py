"""How a request is answered: relayed to one upstream, or in turns with tools that run here."""

from collections.abc import Iterable
from functools import partial

from accounts.principal import Principal
from billing import ledger
from billing.ledger import RecordId
from mcp import tools
from proxy import counting, joining, plans, relay, sameness, table
from proxy.answer import Answer
from proxy.giving import Given, Stream
from proxy.plans import Part, Plan
from proxy.receipts import Step
from proxy.story import Story
from proxy.turns import Asking
from proxy.wire.body import MessagesRequest

RawHeaders = Iterable[tuple[bytes, bytes]]


async def answered(
    request_id: RecordId,
    request: MessagesRequest,
    caller: Principal,
    *,
    query: str,
    headers: RawHeaders,
    said: dict[str, str],
) -> Answer | Stream:
    """The answer to a request. Raises and says what relay.relay and joining.joined do."""
    if not plans.is_needed(request, caller, headers, await table.current()):
        return await relay.relay(
            request_id, request, caller, query=query, headers=headers, said=said
        )
    asker = _Asker(request_id, request, caller, query, headers)
    digest = sameness.digest_of(request, caller, headers, plans.shape_of(headers))
    return await joining.joined(digest, request_id, asker.begin, streams=request.stream, said=said)


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
        self,
        request_id: RecordId,
        request: MessagesRequest,
        caller: Principal,
        query: str,
        headers: RawHeaders,
    ) -> None:
        self._root, self._request, self._caller = request_id, request, caller
        self._query, self._headers = query, headers
        self._has_root = False

    async def begin(self, given: Given) -> Answer | Stream:
        """The answer, in turns; a refusal of the first. Raises as relay.relay and plans.planned."""
        request, headers = self._request, self._headers
        plan = await plans.planned(self._root, request, self._caller, headers)
        if plan is None:  # what the operator had set is no more
            return await relay.relay(
                self._root,
                request,
                self._caller,
                query=self._query,
                headers=headers,
                said=given.said,
            )
        asking = Asking(
            caller=self._caller,
            request_id=f"req_{self._root.hex}",
            manner=plan.manner,
            ask=partial(self._ask, given, plan),
            act=given.act,
        )
        told = Story(plan, asking)
        return await told.begin() or told

    async def _ask(
        self, given: Given, plan: Plan, request: MessagesRequest, part: Part
    ) -> relay.Answered:
        """One turn of a part. Who acts by itself may have, though it then failed."""
        if not plans.may_act(request, await table.current(), self._caller):
            return await self._relayed(given, plan, request, part)
        await given.act()
        try:
            answered = await self._relayed(given, plan, request, part)
        except Exception:
            given.nothing_ran = not await tools.called(self._caller, f"req_{self._root.hex}")
            raise
        if isinstance(answered, Answer):
            given.nothing_ran = not await tools.called(self._caller, f"req_{self._root.hex}")
        return answered

    async def _relayed(
        self, given: Given, plan: Plan, request: MessagesRequest, part: Part
    ) -> relay.Answered:
        is_root, self._has_root = not self._has_root, True
        return await relay.relay(
            self._root if is_root else ledger.new_id(),
            request.streaming(),  # also where the client is told all at once
            self._caller,
            query=self._query,
            headers=plan.headers,
            said=given.said if is_root else {},
            step=Step(
                parent_id=None if is_root else self._root,
                follows=not is_root,
                agent=part.agent,
                requested_model=plan.model,
            ),
            machine=part.toolbox.of_machines,
        )
