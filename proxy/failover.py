"""Ask one target after another, until one begins to answer or the budget is used up.

All of this happens before the client has seen a byte; after that a stream ends with an error event.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from django.conf import settings

from proxy import answer
from proxy.answer import UpstreamError, UpstreamRefusalError, UpstreamSaidError
from proxy.breaker import Breakers, NotAskedError, Place, retry_after_s
from proxy.receipts import Receipt
from proxy.routing import Target
from proxy.wire.body import BodyError

log = logging.getLogger(__name__)

T = TypeVar("T")
WHOLE_ANSWER_S = 600.0  # what the SDKs allow an answer that is not streamed


class After(NamedTuple):
    """What follows a failure."""

    elsewhere: bool  # another upstream may do better
    is_sick: bool  # it counts against the upstream


PASS_ON = After(elsewhere=False, is_sick=False)
_MOVE_ON = After(elsewhere=True, is_sick=False)
_SICK = After(elsewhere=True, is_sick=True)

# A status that is not here is an answer to this request, and would be the same elsewhere.
BY_STATUS = {
    402: _MOVE_ON,
    403: _MOVE_ON,
    408: _SICK,
    429: _MOVE_ON,
    500: _SICK,
    502: _SICK,
    503: _SICK,
    504: _SICK,
    529: _SICK,
}
BY_KIND = {
    "api_error": _SICK,
    "overloaded_error": _SICK,
    "timeout_error": _SICK,
    "authentication_error": _MOVE_ON,
    "billing_error": _MOVE_ON,
    "permission_error": _MOVE_ON,
    "rate_limit_error": _MOVE_ON,
}
BY_ERROR: dict[type[Exception], After] = {
    BodyError: _MOVE_ON,  # it cannot be said in that upstream's language, or is too long for it
    NotAskedError: _MOVE_ON,
    answer.UpstreamRefusedUsError: _MOVE_ON,
    UpstreamError: _SICK,
}


def after(error: Exception) -> After:
    """What follows this failure."""
    if isinstance(error, UpstreamRefusalError):
        # That of our credential is a 502 to the client, but says nothing about the upstream.
        refused = error.answer
        return BY_STATUS.get(refused.said_status or refused.status, _MOVE_ON)
    if isinstance(error, UpstreamSaidError):
        return BY_KIND.get(error.kind, PASS_ON)
    return next(BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)


async def first(
    targets: Sequence[Target],
    ask: Callable[[Target, Place, float], Awaitable[T]],
    receipt: Receipt,
    breakers: Breakers,
    *,
    streamed: bool,
) -> T:
    """What the first target gives that gives anything; `ask` gets a target, a place at its upstream
    and the seconds it has. Raises the failure that says most: UpstreamError or BodyError."""
    until = time.monotonic() + (settings.UPSTREAM_ANSWER_S if streamed else WHOLE_ANSWER_S)
    failures: list[Exception] = []
    for number, target in enumerate(targets, 1):
        is_last = number == len(targets)
        if receipt.attempts >= settings.UPSTREAM_ATTEMPTS:
            break
        try:
            place = breakers.enter(target, time.monotonic(), alone=len(targets) == 1)
            receipt.turn_to(target)
            return await _attempt(target, place, ask, _share(target, until, streamed, is_last))
        except (UpstreamError, BodyError) as error:
            failures.append(error)
            if isinstance(error, BodyError):
                receipt.attempts -= 1  # it cannot be said to that upstream, so it was not asked
            if not after(error).elsewhere:
                break
            _remember(error, target, breakers)
            log.log(
                logging.INFO if isinstance(error, BodyError) else logging.WARNING,
                "req_%s: %s%s",
                receipt.id.hex,
                _said(error, target),
                "" if is_last else "; next",
            )
    raise _telling(failures, receipt)


async def _attempt(
    target: Target,
    place: Place,
    ask: Callable[[Target, Place, float], Awaitable[T]],
    within_s: float,
) -> T:
    try:
        given = await ask(target, place, within_s)
    except BaseException as error:
        if isinstance(error, UpstreamError):
            _judge(error, target, place)
        place.leave()
        raise
    place.worked()
    return given


def _judge(error: UpstreamError, target: Target, place: Place) -> None:
    """Whether it counts against the upstream, for everybody who asks it."""
    has_answered = isinstance(error, UpstreamRefusalError | UpstreamSaidError)
    if has_answered and target.is_own:  # it may be that organization's account
        return
    if after(error).is_sick:
        place.failed(time.monotonic())
    elif has_answered:
        place.worked()  # whoever can refuse is there


def _share(target: Target, until: float, streamed: bool, is_last: bool) -> float:
    """The seconds an attempt has. Half of what is left where others could still be asked in time;
    an answer that is not streamed may take all, for it comes only when it is whole."""
    left_s = max(until - time.monotonic(), 1.0)
    if target.upstream.answer_s is not None:
        return min(target.upstream.answer_s, left_s)
    return left_s / 2 if streamed and not is_last else left_s


def _remember(error: Exception, target: Target, breakers: Breakers) -> None:
    """Leave an upstream alone that has said for how long."""
    if isinstance(error, UpstreamRefusalError):
        seconds = retry_after_s(error.answer.headers)
        if seconds:
            breakers.rest(target, seconds, time.monotonic())


def _said(error: Exception, target: Target) -> str:
    if isinstance(error, UpstreamRefusalError):
        return f"the upstream {target.upstream.name} answered {error.answer.status}"
    return f"{error} ({error.__cause__!r})" if error.__cause__ else str(error)


def _telling(failures: Sequence[Exception], receipt: Receipt) -> Exception:
    """The last failure of an upstream that was asked, or one that says when to come back; of those
    that were not asked, the soonest to be."""
    waiting = [error for error in failures if isinstance(error, NotAskedError)]
    asked = [e for e in failures if isinstance(e, UpstreamError) and e not in waiting]
    if asked:
        told = asked[-1]
        if after(told).elsewhere:
            told = min(reversed(asked), key=_wait_s)
        # The client need not do again what we have done, unless somebody is worth waiting for.
        told.is_final = receipt.attempts > 1 and not waiting
        return told
    # Last of all a body that no upstream can be sent: the client must not give up for that one's
    # sake while another only rests.
    return min(waiting, key=lambda error: error.retry_in_s) if waiting else failures[-1]


def _wait_s(error: UpstreamError) -> float:
    """After how long it said it is worth asking again; nobody knows: infinity."""
    if not isinstance(error, UpstreamRefusalError):
        return math.inf
    seconds = retry_after_s(error.answer.headers)
    return math.inf if seconds is None else seconds
