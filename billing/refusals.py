"""What a client reads when a day's or a month's allowance has no room."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing import money, standing
from billing.allowances import ORGANIZATION, Bound, Denied, Reservation
from billing.standing import Use

CLAUDE_CODES = "CLAUDE_CODE_MAX_OUTPUT_TOKENS"  # how its users say so


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Which limit has no room, why, and whether waiting a moment helps."""

    text: str
    use: Use
    waits_for_others: bool


def explained(denied: Denied, wanted: Reservation, *, plan: str, now: datetime) -> Refusal:
    """The limit that refused, in words with numbers and a way out."""
    use, settled = _tightest(denied, wanted)
    who = "Your organization's cap" if denied.bound.subject == ORGANIZATION else f"The plan {plan}"
    text = f"{who} allows {_amount(use.what, use.limit)} per {period_of(denied.bound)}"
    if use.what == "requests":
        text += f", and {use.used:,} {'is' if use.used == 1 else 'are'} used."
        return _until_it_begins_anew(text, use, now)
    held = use.used - settled
    text += f": {_amount(use.what, settled)} used"
    text += f", {_amount(use.what, held)} held by requests under way" if held else ""
    if wanted.overdraft:
        if settled < use.limit:
            return _until_others_end(f"{text}.", use)
        return _until_it_begins_anew(f"{text}.", use, now)
    need = _need(use.what, wanted)
    text += f", and this request may need up to {_amount(use.what, need)}"
    if need > use.limit:
        text += f", more than all of it. {_smaller(use, wanted)}"
        return Refusal(text=text, use=use, waits_for_others=False)
    if settled + need <= use.limit:
        return _until_others_end(f"{text}.", use)
    return _until_it_begins_anew(f"{text}. {_smaller(use, wanted)}", use, now)


def _until_others_end(text: str, use: Use) -> Refusal:
    text += " There may be room once those have ended."
    return Refusal(text=text, use=use, waits_for_others=True)


def _until_it_begins_anew(text: str, use: Use, now: datetime) -> Refusal:
    text += f" It begins anew at {standing.stamp(use.resets_at)}, in {_span(use.resets_at - now)}."
    return Refusal(text=text, use=use, waits_for_others=False)


def _smaller(use: Use, wanted: Reservation) -> str:
    """What the caller can do about the size of the request."""
    if use.what == "tokens" and wanted.input_tokens >= use.remaining:
        return f"Its input alone is about {wanted.input_tokens:,}: send less, or use another plan."
    return f"A smaller max_tokens needs less ({CLAUDE_CODES} in Claude Code)."


def _tightest(denied: Denied, wanted: Reservation) -> tuple[Use, int]:
    """The limit that has no room, and what of it is settled."""
    counts = denied.counts
    settled = {"requests": counts.requests, "tokens": counts.tokens, "cost": counts.cost_nano}
    found = standing.uses(denied.bound, counts)
    for use in found:
        # With an overdraft something must be left, and no more than that.
        least = 1 if wanted.overdraft else _need(use.what, wanted)
        if use.used + least > use.limit:
            return use, settled[use.what]
    # Between the refusal and the look somebody has given back: the first is as good as any.
    return found[0], settled[found[0].what]


def _need(what: str, wanted: Reservation) -> int:
    return {"requests": 1, "tokens": wanted.tokens, "cost": wanted.cost_nano}[what]


def period_of(bound: Bound) -> str:
    """`day` or `month`."""
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
