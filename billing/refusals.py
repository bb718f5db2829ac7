"""What a client reads when a day's or a month's allowance has no room."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing import money, standing
from billing.allowances import ORGANIZATION, Bound, Denied, Reservation
from billing.standing import Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Which limit has no room, why, and whether waiting a moment helps."""

    text: str
    use: Use
    waits_for_others: bool


def explained(denied: Denied, wanted: Reservation, *, plan: str, now: datetime) -> Refusal:
    """The limit that refused, in words with numbers and a way out."""
    use, need, settled = _tightest(denied, wanted)
    bound = denied.bound
    whose = " for your organization" if bound.subject == ORGANIZATION else ""
    text = f"The plan {plan} allows {_amount(use.what, use.limit)} per {_period(bound)}{whose}"
    held = use.used - settled
    waits = False
    if use.what == "requests":
        text += f", and {use.used:,} {'is' if use.used == 1 else 'are'} used."
    else:
        text += f": {_amount(use.what, settled)} used"
        text += f", {_amount(use.what, held)} held by requests under way" if held else ""
        if need:
            text += f", and this request may need up to {_amount(use.what, need)}"
            if need > use.limit:
                return Refusal(
                    text=f"{text}, more than all of it. Ask for a smaller max_tokens or send less.",
                    use=use,
                    waits_for_others=False,
                )
            waits = settled + need <= use.limit
        text += "."
    if waits:
        return Refusal(
            text=f"{text} There is room once those have ended.", use=use, waits_for_others=True
        )
    hint = " A smaller max_tokens needs less." if need and use.what != "requests" else ""
    return Refusal(
        text=f"{text}{hint} It begins anew at {standing.stamp(use.resets_at)}, "
        f"in {_span(use.resets_at - now)}.",
        use=use,
        waits_for_others=False,
    )


def _tightest(denied: Denied, wanted: Reservation) -> tuple[Use, int, int]:
    """The limit without room, what the request needs of it (0 where it only has to have some left),
    and what is settled."""
    counts = denied.counts
    needs = {"requests": 1, "tokens": wanted.tokens, "cost": wanted.cost_nano}
    settled = {"requests": counts.requests, "tokens": counts.tokens, "cost": counts.cost_nano}
    found = standing.uses(denied.bound, counts)
    for use in found:
        need = needs[use.what]
        if wanted.overdraft and use.what != "requests":
            if settled[use.what] >= use.limit:
                return use, 0, settled[use.what]
        elif use.used + need > use.limit:
            return use, need, settled[use.what]
    # Between the refusal and the look somebody has given back: the first is as good as any.
    return found[0], needs[found[0].what], settled[found[0].what]


def _period(bound: Bound) -> str:
    return "day" if len(bound.period) > len("2026-11") else "month"


def _amount(what: str, amount: int) -> str:
    if what == "cost":
        return money.exact(amount)
    return f"{amount:,} {what.removesuffix('s') if amount == 1 else what}"


def _span(left: timedelta) -> str:
    minutes = max(int(left.total_seconds() // 60), 1)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"
