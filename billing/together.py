"""Reserve for a whole batch at once, where there is room for all of it.

Requests that come at the same time ask mostly of the same allowances: their user's, or their
organization's. One UPDATE for each of these costs a fraction of one for each request. Where some
would find no room, each is asked for by itself, in the order in which they came.
"""

from collections.abc import Sequence
from typing import Any

from billing import allowances
from billing.allowances import Bound, Counts, Denied, Granted, Reservation, Whole

Wholes = dict[tuple[Bound, bool], Whole]  # by the allowance, and whether with an overdraft


def reserve(cursor: Any, wanted: Sequence[Reservation]) -> list[Granted | Denied]:
    """The outcome of each, as if they had been asked for one after the other."""
    if len(wanted) > 1:
        after = _take_all(cursor, _wholes(wanted))
        if after is not None:
            return _told(wanted, after)
    return [allowances.reserve(cursor, one) for one in wanted]


def _wholes(wanted: Sequence[Reservation]) -> Wholes:
    wholes: Wholes = {}
    for one in wanted:
        for bound in one.bounds:
            key = bound, one.overdraft
            wholes[key] = wholes.get(key, Whole()).with_one(one)
    return wholes


def _take_all(cursor: Any, wholes: Wholes) -> dict[str, Counts] | None:
    """The allowances afterwards. None where some have no room for all: then nothing is taken."""
    if len({bound.id for bound, _ in wholes}) < len(wholes):
        return None  # limits that are just being changed: some came with the old ones
    after: dict[str, Counts] = {}
    for (bound, overdraft), whole in wholes.items():
        counts = allowances.take(cursor, bound, whole, overdraft=overdraft)
        if counts is None:
            for earlier, its_overdraft in wholes:
                if earlier.id in after:
                    allowances.give_back(cursor, earlier.id, wholes[earlier, its_overdraft])
            return None
        after[bound.id] = counts
    return after


def _told(wanted: Sequence[Reservation], after: dict[str, Counts]) -> list[Granted | Denied]:
    """Each with the allowances as they were just after it: less what the later ones took."""
    told: list[Granted | Denied] = []
    for one in reversed(wanted):
        told.append(Granted(counts={bound.id: after[bound.id] for bound in one.bounds}))
        for bound in one.bounds:
            at = after[bound.id]
            after[bound.id] = at._replace(
                requests=at.requests - 1,
                tokens_held=at.tokens_held - one.tokens,
                cost_held_nano=at.cost_held_nano - one.cost_nano,
            )
    return told[::-1]
