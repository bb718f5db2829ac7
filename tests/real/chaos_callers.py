"""Who asks in the chaos, and what each of them may use."""

from typing import Literal
from uuid import UUID

import msgspec


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that counts a caller's requests. None: not limited."""

    subject: str
    period: Literal["day", "month"]
    requests: int | None = None
    tokens: int | None = None
    cost_nano: int | None = None
    is_hard: bool = True


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A key, whose it is, and the limits that its requests count in."""

    key: str
    api_key_id: str
    organization_id: UUID
    user_id: int
    share: int  # how often it asks, compared with the others
    bounds: tuple[Bound, ...]
