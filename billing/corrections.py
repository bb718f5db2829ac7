"""Rows that correct closed ones: what is to be added to them, since nothing closed is edited."""

from collections.abc import Sequence

from django.db import connection

from billing import rollups, settling
from billing.models import UsageRecord
from billing.rollups import Use
from billing.tokens import TokenCounts


def append(corrections: Sequence[UsageRecord]) -> None:
    """Write the rows, add them to the sums, and tell Lago where it was told of what they correct.

    Call it in the transaction that decided on them. Allowances stay as they are: what a limit has
    let through on a day gone by is neither given back nor taken away.
    """
    for row in corrections:
        corrected = row.corrects
        row.metered = corrected is not None and corrected.metered
    UsageRecord.objects.bulk_create(corrections)
    with connection.cursor() as cursor:
        rollups.add(cursor, [_use(row) for row in corrections])
        settling.queue(cursor, [row.id for row in corrections if row.metered])


def _use(row: UsageRecord) -> Use:
    return Use(
        organization_id=row.organization_id,
        user_id=row.user_id,
        api_key_id=row.api_key_id,
        model=row.requested_model,
        agent=row.agent,
        session_id=row.session_id,
        tags=row.tags or (),
        admitted_at=row.admitted_at,
        counts=TokenCounts(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cache_read_tokens=row.cache_read_tokens,
            cache_write_5m_tokens=row.cache_write_5m_tokens,
            cache_write_1h_tokens=row.cache_write_1h_tokens,
            server_tool_uses=row.server_tool_uses,
        ),
        cost_nano=row.cost_nano,
        is_correction=True,
    )
