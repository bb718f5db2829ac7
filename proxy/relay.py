"""The story of one request, in the order it happens."""

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import msgspec

from accounts.principal import Principal
from billing.ledger import RecordId, State
from proxy import brigades, errors, failover, receipts, table, upstream
from proxy.adapters.language import Asked, Call, Language, MachineTool, hops_of
from proxy.answer import Answer, UpstreamDroppedError, UpstreamRefusalError
from proxy.breaker import MOST_REST_S, Place, retry_after_s
from proxy.concessions import concessions
from proxy.eventstream import EventStream, said
from proxy.languages import BY_KIND
from proxy.receipts import Receipt, Step
from proxy.routing import Asking, Target
from proxy.wire.body import MessagesRequest

PATH = "/v1/messages"
Answered = Answer | EventStream

_REFUSED = frozenset({400, 422})  # what an upstream answers to what it does not know
LARGE_BYTES = 512 * 1024  # a body that takes tens of milliseconds to translate
MOST_CONCESSIONS = 8  # times that one upstream is asked for one request, each with less
SAID_BYTES = 4096  # of a refusal, read for what it complains about


async def relay(
    request_id: RecordId,
    request: MessagesRequest,
    caller: Principal,
    *,
    query: str,
    headers: Iterable[tuple[bytes, bytes]],
    said: dict[str, str],
    step: Step | None = None,
    machine: tuple[MachineTool, ...] = (),
) -> Answered:
    """Ask the upstreams that answer for the request's model, one after the other; give back what
    the first says that answers.

    A stream comes back with its first block read, so that an upstream that refuses or dies before
    it still gets an HTTP status. Raises what errors.MEANING knows. `said` takes the headers that
    every answer has from here on, whatever comes.
    """
    hops = hops_of(headers)
    call = Call(
        path=PATH,
        query=query,
        headers=headers,
        request=request,
        organization_id=caller.organization_id,
        caller=caller,
        request_id=request_id,
        root_id=step.parent_id if step else None,
        machine=machine,
        hops=hops,
    )
    session = receipts.session_of(headers)
    asking = Asking(
        model=request.model,
        organization_id=caller.organization_id,
        session=session or request_id.hex,
    )
    targets = await table.choose(asking)
    receipt = await receipts.opened(request_id, request, caller, targets, headers, step)
    said.update(receipt.headers)
    try:
        ask = partial(_ask, call, receipt)
        answered = await failover.first(
            targets, ask, receipt, table.breakers, streamed=request.stream
        )
    except UpstreamRefusalError as refusal:
        return _refused(refusal, receipt)
    except BaseException as error:
        _close(receipt, error)
        raise
    if session and receipt.moved_from:
        move = (datetime.now(UTC), asking.model, receipt.moved_from, receipt.target.upstream.name)
        table.moves.note(asking.home, move)
        receipt.tell_move()
    return answered


async def _ask(
    call: Call, receipt: Receipt, target: Target, place: Place, within_s: float
) -> Answered:
    """One attempt. Raises UpstreamError, BodyError or, for a refusal that may be better elsewhere,
    UpstreamRefusalError."""
    if target.upstream.kind == "brigade":
        answer, asked = await brigades.answer(call, target, within_s, _answer)
    else:
        answer, asked = await _answer(call, target, within_s)
    receipt.status, receipt.upstream_request_id = answer.status, answer.request_id
    if answer.source is None:
        if answer.status in failover.BY_STATUS:  # also where the upstream itself said another
            raise UpstreamRefusalError(answer)
        whole = _whole(answer, receipt)
        place.leave()
        return whole
    stream = EventStream(answer, answer.source, receipt, place, asked.renamed)
    await stream.begin()
    return stream


async def _answer(call: Call, target: Target, within_s: float) -> tuple[Answer, Asked]:
    """What the target says, once it is asked for nothing that it does not know."""
    language = BY_KIND[target.upstream.kind]
    conceded = concessions.known(call.organization_id, target, time.monotonic())
    until = time.monotonic() + within_s
    given_up = ""
    for _ in range(MOST_CONCESSIONS):
        asked = await _asked(language, call, target, conceded)
        answer = await _sent(target, asked, until)
        if answer.status not in _REFUSED:
            if given_up in language.lasting:  # the last one has helped; the others may not have
                concessions.learn(call.organization_id, target, given_up, time.monotonic())
            break
        text = answer.body[:SAID_BYTES].decode(errors="replace")
        given_up = language.concession(text, conceded)
        if not given_up or given_up in conceded:
            break
        conceded |= {given_up}
    return answer, asked


async def _asked(language: Language, call: Call, target: Target, conceded: frozenset[str]) -> Asked:
    """The call in the upstream's words; what takes long is put into them in a thread."""
    body = call.request.body
    if len(body.raw) > LARGE_BYTES and (language.rebuilds or conceded or body.is_marked):
        return await asyncio.to_thread(language.asked, call, target, conceded)
    return language.asked(call, target, conceded)


async def _sent(target: Target, asked: Asked, until: float) -> Answer:
    try:
        return await upstream.ask(target, asked, within_s=until - time.monotonic())
    except UpstreamDroppedError:  # nothing was asked yet; others that are kept may be as dead
        return await upstream.ask(target, asked, within_s=until - time.monotonic(), fresh=True)


def _whole(answer: Answer, receipt: Receipt) -> Answer:
    """Count an answer that is not streamed. Raises UpstreamSaidError where it is an error."""
    if answer.status >= 400:
        receipt.close(State.FAILED, error_type=_error_type(answer.body))
        return answer
    receipt.see_whole(answer.body)
    if receipt.meter.error is not None:
        raise said(receipt.meter.error)
    receipt.close(State.COMPLETED if receipt.meter.has_end else State.FAILED)
    return answer


def _refused(refusal: UpstreamRefusalError, receipt: Receipt) -> Answer:
    """The last upstream's own refusal, and what the client had better do about it."""
    answer = refusal.answer
    receipt.status = answer.status
    error_type = _error_type(answer.body)
    receipt.close(State.FAILED, error_type=error_type)
    headers = dict(answer.headers)
    seconds = retry_after_s(headers)
    for name in ("llm_provider-retry-after", "retry-after"):  # said anew below, if it says anything
        headers.pop(name, None)
    if error_type == "billing_error":  # an empty account does not fill up by waiting
        headers["x-should-retry"] = "false"
    elif seconds is not None:
        headers["retry-after"] = str(math.ceil(min(seconds, MOST_REST_S)))
    elif refusal.is_final:
        headers["x-should-retry"] = "false"
    return replace(answer, headers=headers)


def _close(receipt: Receipt, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        receipt.close(State.INTERRUPTED)
        return
    meaning = errors.meaning_of(error)
    receipt.status = meaning.status
    receipt.close(State.FAILED, error_type=meaning.kind)


def _error_type(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body)["error"]["type"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return error if isinstance(error, str) else ""
