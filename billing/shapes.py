"""The answers of the usage pages, as the OpenAPI page shows them."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers

from accounts.described import shape
from billing import usage

_sums = {name: serializers.IntegerField() for name in usage.SUMS}
_sums |= {"cost": serializers.CharField(help_text="`cost_nano` in dollars.")}  # type: ignore[dict-item]  # fields all
_groups = {
    name: serializers.CharField(required=False, help_text="If it is in `group_by`.")
    for name in usage.COLUMNS
}


class Limit(serializers.Serializer[Any]):
    """A limit and where somebody stands with it; that of a minute says the limit alone."""

    limit = serializers.IntegerField(allow_null=True)
    used = serializers.IntegerField(required=False)
    held = serializers.IntegerField(required=False)
    remaining = serializers.IntegerField(allow_null=True, required=False)
    resets_at = serializers.DateTimeField(required=False)


USAGE = shape(
    "Usage",
    **{"from": serializers.DateTimeField(), "to": serializers.DateTimeField()},
    group_by=serializers.ListField(child=serializers.CharField()),
    organization=serializers.UUIDField(allow_null=True),
    user=serializers.IntegerField(allow_null=True),
    results=serializers.ListField(child=shape("UsageOfGroup", **_groups, **_sums)),
    totals=shape("UsageTotals", **_sums),
    limit=serializers.IntegerField(),
    has_more=serializers.BooleanField(),
)
CURRENT = shape(
    "CurrentUsage",
    organization=serializers.UUIDField(),
    subject=serializers.CharField(),
    plan=shape("PlanName", code=serializers.CharField(), name=serializers.CharField()),
    state=serializers.CharField(),
    reason=serializers.CharField(),
    limits=serializers.DictField(child=Limit()),
    organization_limits=serializers.DictField(child=Limit(), allow_null=True),
    api_calls_used=serializers.IntegerField(),
    api_calls_limit=serializers.IntegerField(help_text="-1: none."),
    reset_date=serializers.DateTimeField(),
    subscription=shape(
        "SubscriptionShown",
        tier=serializers.CharField(),
        tier_name=serializers.CharField(),
        status=serializers.CharField(),
    ),
    user=shape("UserName", username=serializers.CharField()),
)
CSV, JSON_LINES = (200, "text/csv"), (200, "application/x-ndjson")
EXPORT = {CSV: OpenApiTypes.STR, JSON_LINES: OpenApiTypes.STR}
