"""The question that the portal's page of usage answers: since when, whose, and by what."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms

MOST_DAYS = 366
RANGES = [
    ("24h", "Last 24 hours"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
    ("custom", "From … to …"),
]
MINE, ALL = "mine", "all"
GROUPS = [("model", "Model"), ("key", "Key"), ("agent", "Agent")]
FIRST_QUESTION = {"range": "7d", "by": "model", "whose": MINE}
UNKNOWN = {"invalid_choice": "Choose one of those that are there."}
NO_DAY = {"invalid": "Write a day as 2026-11-25."}
YEARS = range(2000, 2200)  # others are nobody's usage, and no zone can be reckoned at their ends


class UsageQuestion(forms.Form):
    """Days are UTC. Whoever does not rule the organization asks about themselves alone."""

    range = forms.ChoiceField(choices=RANGES, error_messages=UNKNOWN)
    by = forms.ChoiceField(choices=GROUPS, error_messages=UNKNOWN)
    whose = forms.ChoiceField(choices=[(MINE, "Mine")], error_messages=UNKNOWN)
    first = forms.DateField(required=False, error_messages=NO_DAY)
    last = forms.DateField(required=False, error_messages=NO_DAY)

    def __init__(self, data: dict[str, Any], *, rules: bool) -> None:
        super().__init__(FIRST_QUESTION | data)
        if rules:
            choices = [(MINE, "Mine"), (ALL, "Everybody's")]
            self.fields["whose"] = forms.ChoiceField(choices=choices, error_messages=UNKNOWN)
            by = [*GROUPS, ("user", "Person")]
            self.fields["by"] = forms.ChoiceField(choices=by, error_messages=UNKNOWN)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("range") != "custom" or self.errors:
            return data
        first, last = data.get("first"), data.get("last")
        if first is None or last is None:
            self.add_error("first" if first is None else "last", "Choose a day.")
        elif first.year not in YEARS or last.year not in YEARS:
            self.add_error("last", "Choose days of this century.")
        elif last < first:
            self.add_error("last", "This day is before the first.")
        elif (last - first).days >= MOST_DAYS:
            self.add_error("last", f"Choose at most {MOST_DAYS} days.")
        return data


def ends(asked: dict[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """From when on, and until when; the end is not part of it any more."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    tomorrow = midnight + timedelta(days=1)
    match asked["range"]:
        case "24h":
            return hour - timedelta(hours=23), hour + timedelta(hours=1)
        case "7d":
            return tomorrow - timedelta(days=7), tomorrow
        case "30d":
            return tomorrow - timedelta(days=30), tomorrow
        case _:
            first, last = asked["first"], asked["last"]
            return _midnight(first), _midnight(last) + timedelta(days=1)


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time(), UTC)
