"""Reserve before the work, settle after it."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.conf import settings

from accounts import rates
from accounts.rates import Count, CountersAwayError, Rate
from billing import alarms, allowances, ledger, metrics, minutes, refusals, standing
from billing.allowances import ORGANIZATION, Denied, Reservation
from billing.ledger import Admission
from billing.plans import Limits, Terms
from billing.pricing import Charge
from billing.standing import Use

log = logging.getLogger(__name__)

MINUTE_S = 60
# Claude Code waits up to 60 s when it is told to, and gives up at once when it would be longer.
MOST_WAIT_S = 60
HELD_WAIT_S = 5  # until some of the requests under way are likely to have settled


class SuspendedError(Exception):
    """The organization may not use the gateway at present. The text says why."""


class BillingSickError(Exception):
    """Billing cannot do its part, and the operator chose to let nothing through then."""


class LimitReachedError(Exception):
    """A limit is used up. The text names the plan, the limit and when it begins anew."""

    def __init__(self, text: str, use: Use, *, wait_s: float, is_final: bool, period: str) -> None:
        super().__init__(text)
        self.kind = "billing_error" if use.what == "cost" else "rate_limit_error"
        self.what, self.period = use.what, period
        self.headers = {"retry-after": str(max(math.ceil(wait_s), 1))}
        self.headers |= standing.headers([use])
        if is_final:  # the same request is refused again, however often it is made before then
            self.headers |= {"x-should-retry": "false", **standing.unified(use, rejected=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a request may use at most."""

    input_tokens: int
    max_tokens: int

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.input_tokens + self.max_tokens


def prepared(
    admission: Admission, subject: str, terms: Terms, need: Need, charges: Sequence[Charge]
) -> Admission:
    """The request with what must be reserved for it. Raises SuspendedError or BillingSickError.

    `charges` are those of all who may answer: nobody knows yet who will.
    """
    _check_terms(admission, terms, charges)
    organization, day = admission.organization_id, admission.admitted_at.date()
    bounds = allowances.bounds(organization, subject, terms.limits, day)
    bounds += allowances.bounds(organization, ORGANIZATION, terms.cap, day)
    if not bounds:
        return admission
    costs = [one.price.most(need.input_tokens, need.max_tokens) for one in charges]
    reservation = Reservation(
        bounds=bounds,
        tokens=need.tokens,
        input_tokens=need.input_tokens,
        cost_nano=max(costs, default=0),
        overdraft=terms.overdraft,
    )
    return replace(admission, reservation=reservation)


async def admit(admission: Admission, subject: str, terms: Terms) -> dict[str, str]:
    """Find room for a prepared request in every limit and open its row; one commit for both.

    Returns the headers that tell the client where it stands. Raises LimitReachedError,
    BillingSickError or ledger.LedgerUnavailableError.
    """
    minutes = await _count_minutes(admission, subject, terms)
    outcome = await ledger.admit(admission)
    if isinstance(outcome, Denied):
        await _forgive_minutes(admission, subject, terms)
        raise _told(_refusal(outcome, admission, terms), admission, subject)
    found = [_minute(count) for count in minutes]
    if admission.reservation:
        for bound in admission.reservation.bounds:
            found += standing.uses(bound, outcome.counts[bound.id])
    return standing.headers(found) if found else {}


def _check_terms(admission: Admission, terms: Terms, charges: Sequence[Charge]) -> None:
    if terms.suspended:
        why = f": {terms.reason}" if terms.reason else ""
        raise SuspendedError(f"Your organization's subscription is suspended{why}.")
    if terms.is_unknown:
        alarms.put(alarms.Code.UNKNOWN_PLAN, terms.plan, "No plan has this code: no limits apply.")
        _fail_closed(f"The plan {terms.plan} is not there")
    if not all(charge.is_known for charge in charges):
        _fail_closed(f"There is no price for {admission.target_model}")


def _fail_closed(why: str) -> None:
    if settings.BILLING_FAIL_CLOSED:
        raise BillingSickError(f"{why}, and this gateway serves nothing that it cannot bill.")


def _minute_limits(
    admission: Admission, subject: str, terms: Terms
) -> list[tuple[str, Rate, Limits]]:
    """Who is counted by the minute, and how often they may come.

    The turns of an answer after its first are none of the client's haste: nobody is.
    """
    found: list[tuple[str, Rate, Limits]] = []
    if admission.follows:
        return found
    for who, limits in ((subject, terms.limits), (ORGANIZATION, terms.cap)):
        if limits.requests_per_minute is not None:
            rate = Rate(limit=limits.requests_per_minute, period_s=MINUTE_S)
            found.append((f"{admission.organization_id.hex}/{who}", rate, limits))
    return found


async def _count_minutes(admission: Admission, subject: str, terms: Terms) -> list[Count]:
    """Count the request in its minute. Raises LimitReachedError for one too many."""
    asked = _minute_limits(admission, subject, terms)
    if not asked:
        return []
    try:
        counts = await minutes.count([(who, rate) for who, rate, _ in asked])
    except CountersAwayError as error:
        rates.say_away(error)
        _fail_closed("The counters of requests per minute do not answer")
        return []
    for count, (_, _, limits) in zip(counts, asked, strict=True):
        if count.is_over:
            await _forgive_minutes(admission, subject, terms)
            is_cap = limits is terms.cap
            raise _told(_too_fast(count, terms, is_cap=is_cap), admission, subject)
    return counts


async def _forgive_minutes(admission: Admission, subject: str, terms: Terms) -> None:
    """A request that another limit refuses does not count."""
    await minutes.forgive(
        [(who, rate) for who, rate, _ in _minute_limits(admission, subject, terms)]
    )


def _told(refusal: LimitReachedError, admission: Admission, subject: str) -> LimitReachedError:
    """The refusal, once the log has it: a request that is refused has no row."""
    metrics.refused(refusal.what, refusal.period)
    log.info(
        "req_%s refused: %s of organization %s, key %s: %s",
        admission.id.hex,
        subject,
        admission.organization_id,
        admission.api_key_id,
        refusal,
    )
    return refusal


def _too_fast(count: Count, terms: Terms, *, is_cap: bool) -> LimitReachedError:
    who = "Your organization's cap" if is_cap else f"The plan {terms.name}"
    wait_s = min(count.resets_in_s, MOST_WAIT_S)
    return LimitReachedError(
        f"{who} allows {count.limit:,} requests per minute. The next may come in {wait_s} s.",
        _minute(count),
        wait_s=wait_s,
        is_final=False,
        period="minute",
    )


def _refusal(denied: Denied, admission: Admission, terms: Terms) -> LimitReachedError:
    assert admission.reservation is not None  # noqa: S101  (without one nothing is denied)
    why = refusals.explained(
        denied, admission.reservation, plan=terms.name, now=admission.admitted_at
    )
    if why.waits_for_others:
        wait_s = float(HELD_WAIT_S)
    else:
        wait_s = (why.use.resets_at - admission.admitted_at).total_seconds()
    return LimitReachedError(
        why.text,
        why.use,
        wait_s=wait_s,
        is_final=not why.waits_for_others,
        period=refusals.period_of(denied.bound),
    )


def _minute(count: Count) -> Use:
    end = datetime.now(UTC) + timedelta(seconds=count.resets_in_s)
    return Use(what="requests", limit=count.limit, used=count.count, resets_at=end)
