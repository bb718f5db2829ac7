"""Values in what Lago sends, whatever stands there instead of them (pure)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

Json = Mapping[str, Any]
TEXT_CHARS = 200


def as_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return text.replace("\0", "").encode(errors="replace").decode()[:TEXT_CHARS]


def as_moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def synced_at(wallet: Json) -> datetime | None:
    names = ("created_at", "last_balance_sync_at", "last_consumed_credit_at")
    return max(filter(None, (as_moment(wallet.get(name)) for name in names)), default=None)


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
