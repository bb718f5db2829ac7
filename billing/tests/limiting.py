"""Requests that ask for room in limits, as the tests of limits begin and end them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from billing import ledger, limits, writer
from billing.ledger import Admission, Closing, State
from billing.limits import LimitReachedError, Need
from billing.plans import Limits, Terms
from billing.pricing import Charge, PriceVersion
from billing.tokens import Settled, TokenCounts

SUBJECT = "user:1"
NOW = datetime(2026, 11, 25, 20, 40, tzinfo=UTC)
PRICE = PriceVersion(
    id=7,
    pattern="*",
    input_nano=1_000_000,
    output_nano=2_000_000,
    cache_read_nano=0,
    cache_write_5m_nano=1_000_000,
    cache_write_1h_nano=1_000_000,
    valid_from=datetime(2020, 1, 1, tzinfo=UTC),
)
CHARGE = Charge(price=PRICE, is_known=True)


def terms(cap: Limits | None = None, **more: Any) -> Terms:
    own = {name: more.pop(name) for name in list(more) if name in Limits.__slots__}
    return Terms(plan="t", name="Test", limits=Limits(**own), cap=cap or Limits(), **more)


async def begun(
    admission: Admission,
    agreed: Terms,
    need: Need | None = None,
    subject: str = SUBJECT,
    charge: Charge = CHARGE,
) -> tuple[Admission, dict[str, str]]:
    need = need or Need(input_tokens=10, max_tokens=20)
    one = replace(admission, id=ledger.new_id(), admitted_at=NOW)
    one = limits.prepared(one, subject, agreed, need, [charge])
    return one, await limits.admit(one, subject, agreed)


async def ended(one: Admission, counts: TokenCounts, charge: Charge | None = CHARGE) -> None:
    closing = Closing(
        state=State.COMPLETED,
        duration_ms=1,
        upstream="scripted",
        target_model="qwen",
        settled=Settled(counts=counts),
        charge=charge,
    )
    ledger.close(one, closing)
    await writer.current().drain()


async def refused(*args: Any, **more: Any) -> LimitReachedError:
    with pytest.raises(LimitReachedError) as refusal:
        await begun(*args, **more)
    return refusal.value
