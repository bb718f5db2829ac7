"""A client's retry carries no marker: what is the same as a request under way joins its answer, and
soon after its end hears it again. So no tool runs twice for a client that tries again."""

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace

from accounts.reads import DatabaseAwayError
from billing.ledger import RecordId
from proxy import given, story
from proxy.answer import Answer
from proxy.given import KEEP_S, PURGE_S, Claim
from proxy.giving import Give, Given, Stream
from proxy.recording import Budget

log = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024 * 1024  # of all answers together; those that have ended make room
MOST_TOLD = 1000  # answers that have ended
_FINAL = {"x-should-retry": "false"}  # a tool has run, and what became of it does not get better

_running: dict[str, Given] = {}  # by what makes a request the same
_told: OrderedDict[str, Given] = OrderedDict()  # the same, once they have ended; the oldest first
_tasks: set[asyncio.Task[None]] = set()  # of all that run, joinable or not


def _make_room() -> bool:
    """Forget the answer that ended first; whether there was one. Its rows are there for a while."""
    oldest = next(iter(_told.values()), None)
    if oldest is not None:
        _forget(oldest)
    return oldest is not None


_budget = Budget(MOST_BYTES, _make_room)


async def joined(
    digest: str, request_id: RecordId, give: Give, *, streams: bool, said: dict[str, str]
) -> Answer | Stream:
    """The answer to a request: one that is given or was given just now, or what `give` begins.

    Raises what `give` does, given.BrokenOffError and accounts.reads.DatabaseAwayError.
    """
    one = _running.get(digest) or _told.get(digest)
    if one is None or not one.is_joinable:
        one = _begun(digest, request_id, give)
    listener = one.listen()
    try:
        try:
            refusal = await asyncio.shield(one.begun)
        except Exception:
            if one.is_done:
                said.update(_FINAL)
            raise
        said["request-id"] = f"req_{one.claim.request_id.hex}"  # whose it is, in the ledger as well
        if refusal is not None:
            listener.leave()
            is_final = one.is_done and refusal.status >= 400
            return replace(refusal, headers={**refusal.headers, **_FINAL}) if is_final else refusal
        listener.answer = one.answer
        if streams:
            return listener
        answer = await story.whole(listener)
    except BaseException:
        listener.leave()
        raise
    finally:
        said.update(one.said)
    if answer.status >= 400 and one.has_effects:
        return replace(answer, headers={**answer.headers, **_FINAL})
    return answer


def _begun(digest: str, request_id: RecordId, give: Give) -> Given:
    claim = Claim(digest=digest, request_id=request_id)
    one = _running[digest] = Given(claim, _budget, give, _ended)
    _tasks.add(one.task)
    one.task.add_done_callback(_tasks.discard)
    return one


def _ended(one: Given, may_be_heard_again: bool) -> None:
    digest = one.claim.digest
    if _running.get(digest) is one:
        del _running[digest]
    if not may_be_heard_again:
        one.recording.release()
        return
    _told[digest] = one
    asyncio.get_running_loop().call_later(KEEP_S, _forget, one)
    while len(_told) > MOST_TOLD:
        _make_room()


def _forget(one: Given) -> None:
    if _told.get(one.claim.digest) is one:
        del _told[one.claim.digest]
        one.recording.release()


async def shutdown() -> None:
    """Stop all answers, as a process does at its end: those who listen have left by then."""
    for task in _tasks:
        task.cancel()
    await asyncio.gather(*_tasks, return_exceptions=True)


async def purge() -> None:
    """Delete rows that no retry can be for any more, now and then, for ever."""
    while True:
        await asyncio.sleep(PURGE_S)
        with suppress(DatabaseAwayError):  # the next time, then
            await given.purge()
