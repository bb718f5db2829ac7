"""What the usage pages take and give."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.serializers import Strict, Text
from billing import statements, usage

RANGE_MOST = timedelta(days=366)
GROUPS_MOST = 2  # more make groups of one request each
ROWS_DEFAULT, ROWS_MOST = 1_000, 10_000


@extend_schema_field(OpenApiTypes.DATETIME)
class Moment(serializers.Field[datetime, Any, str, Any]):
    """An ISO date or datetime; without an offset it is UTC, and a date is its midnight."""

    default_error_messages = {
        "invalid": "Write a date or a time as 2026-11-25 or 2026-11-25T13:00:00Z.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        at = _parsed(str(data).strip())
        # Years at whose edges no zone and no month can be reckoned are nobody's usage.
        if at is None or not 2000 <= at.year < 2200:
            self.fail("invalid")
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)

    def to_representation(self, value: datetime) -> str:
        return moment(value)


class Organized(Strict):
    """For which organization."""

    organization = serializers.UUIDField(
        default=None,
        help_text="For people in several organizations; without it, their oldest. Operators: all.",
    )


class Ranged(Organized):
    """From when on, and until when; the present month unless said otherwise."""

    def get_fields(self) -> dict[str, Any]:
        # `from` is no name that Python takes.
        ends = {"from": Moment(required=False), "to": Moment(required=False)}
        return ends | super().get_fields()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        starts_at = attrs.get("from") or _month(attrs.get("to", timezone.now()))
        ends_at = attrs.get("to") or _next_month(starts_at)
        if starts_at >= ends_at:
            raise serializers.ValidationError({"to": ["It must be later than `from`."]})
        if ends_at - starts_at > RANGE_MOST:
            text = f"At most {RANGE_MOST.days} days can be asked for at once."
            raise serializers.ValidationError({"to": [text]})
        return attrs | {"from": starts_at, "to": ends_at}


class Asked(Ranged):
    """A question to the sums."""

    group_by = Text(default="day")
    model = Text(max_length=256, default=None)
    user = serializers.IntegerField(min_value=1, max_value=2**63 - 1, default=None)
    key = Text(max_length=16, default=None)
    limit = serializers.IntegerField(min_value=1, max_value=ROWS_MOST, default=ROWS_DEFAULT)

    def validate_group_by(self, value: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in value.split(","))
        if unknown := [name for name in names if name not in usage.COLUMNS]:
            text = f"{unknown[0][:50]!r} is none of: {', '.join(usage.COLUMNS)}."
            raise serializers.ValidationError(text)
        if len(names) > GROUPS_MOST:
            raise serializers.ValidationError(f"At most {GROUPS_MOST} fields, with a comma.")
        return names

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        filters = [name for name in ("model", "user", "key") if attrs[name] is not None]
        try:
            usage.check(attrs["group_by"], filters)
        except usage.CombinationError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        return super().validate(attrs)


class Exported(Ranged):
    """Which rows of the ledger, and how they are written."""

    user = serializers.IntegerField(min_value=1, max_value=2**63 - 1, default=None)
    format = serializers.ChoiceField(choices=list(statements.FORMATS), default="csv")


def asked(page: type[Strict], parameters: QueryDict) -> dict[str, Any]:
    """The query's parameters, checked. One that is there twice is refused."""
    if twice := [name for name, values in parameters.lists() if len(values) > 1]:
        raise serializers.ValidationError({name: ["It is there twice."] for name in twice})
    query = page(data=parameters.dict())
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def moment(at: datetime) -> str:
    """A moment as RFC 3339 writes it, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def amounts(found: usage.Amounts) -> dict[str, Any]:
    """The sums as they are shown, with the cost in dollars too."""
    return {**found, "cost": statements.dollars(found["cost_nano"])}


def by(names: Mapping[str, Mapping[Any, str]], group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group is of. People, keys and organizations with the names they have now, if any."""
    shown: dict[str, Any] = {}
    for field, value in group.items():
        if field == "day":
            shown[field] = date.isoformat(value.date())
        elif field == "hour":
            shown[field] = moment(value)
        else:
            shown[field] = str(value) if field == "organization" else value
        if field in names:
            shown[f"{field}_name"] = names[field].get(value)
    return shown


def _parsed(text: str) -> datetime | None:
    if "T" in text:
        text = text.replace(" ", "+")  # what becomes of an offset's + that was not escaped
    try:
        day = parse_date(text)
        return datetime.combine(day, time()) if day else parse_datetime(text)
    except ValueError:  # of the right form, but on no calendar
        return None


def _month(at: datetime) -> datetime:
    # A moment earlier: the month that ends with the first of the next one is the one before.
    at = at - timedelta(microseconds=1)
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(at: datetime) -> datetime:
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
