"""How many tokens a request would take: by the upstream that would answer it, or by an estimate."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from accounts.principal import Principal
from proxy import receipts, table, upstream
from proxy.adapters.language import Call, hops_of
from proxy.answer import Answer, UpstreamError, UpstreamRefusedUsError
from proxy.concessions import concessions
from proxy.languages import BY_KIND
from proxy.routing import Asking
from proxy.wire import estimate
from proxy.wire.body import MessagesRequest

PATH = "/v1/messages/count_tokens"
ESTIMATED = {"x-opscenter-estimated": "input_tokens"}  # marks what no upstream has counted
WITHIN_S = 20.0  # a count that takes longer is worth less than an estimate
LARGE_BYTES = 512 * 1024  # estimated in a thread: everybody else would wait for it
_NOT_THERE = frozenset({404, 405, 501})  # the upstream has no such thing
_UNWELL = frozenset({408, 429, 500, 502, 503, 504, 529})


async def counted(
    request: MessagesRequest,
    caller: Principal,
    *,
    query: str,
    headers: Iterable[tuple[bytes, bytes]],
) -> Answer:
    """The count as an Answer. No request of the ledger's, and no upstream is unwell because of it.

    Raises routing.NoRouteError, BodyError, or UpstreamRefusedUsError.
    """
    asking = Asking(
        model=request.model,
        organization_id=caller.organization_id,
        session=receipts.session_of(headers),
    )
    targets, now = await table.choose(asking), time.monotonic()
    well = (each for each in targets if not table.breakers.unwell(each.upstream, now))
    target = next(well, targets[0])
    if target.upstream.kind in {"openai", "brigade"}:
        return await _estimated(request)
    call = Call(
        path=PATH,
        query=query,
        headers=headers,
        request=request,
        organization_id=caller.organization_id,
        counting=True,
        hops=hops_of(headers),
    )
    known = concessions.known(call.organization_id, target, time.monotonic())
    asked = BY_KIND[target.upstream.kind].asked(call, target, known)
    try:
        answer = await upstream.ask(target, asked, within_s=WITHIN_S, counting=True)
    except UpstreamRefusedUsError:
        raise
    except UpstreamError:
        return await _estimated(request)
    if answer.status in _NOT_THERE | _UNWELL or (
        answer.status != 200 and target.upstream.kind == "compatible"  # it may know less than we
    ):
        return await _estimated(request)
    return answer


async def _estimated(request: MessagesRequest) -> Answer:
    body = request.body
    if len(body.raw) > LARGE_BYTES:
        tokens = await asyncio.to_thread(lambda: estimate.input_tokens(body.decoded()))
    else:
        tokens = estimate.input_tokens(body.decoded())
    return _as_answer({"input_tokens": tokens})


def _as_answer(counted: Mapping[str, Any]) -> Answer:
    return Answer(status=200, headers=ESTIMATED, body=msgspec.json.encode(counted))
