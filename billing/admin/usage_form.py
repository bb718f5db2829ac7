"""The question that the page of usage answers: which days, whose, and grouped by what."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.choosing import OrganizationSelect
from accounts.models import Organization
from billing.admin.usage_query import GROUPS
from billing.models import UsageRollup

MOST_DAYS = 366  # a longer look back is an export's work, and more bars than a screen has room for
RANGES = [
    ("today", "Today"),
    ("7d", "Last 7 days"),
    ("month", "This month"),
    ("last", "Last month"),
    ("custom", "From … to …"),
]


class UsageQuestion(forms.Form):
    """Days are UTC."""

    range = forms.ChoiceField(choices=RANGES, widget=UnfoldAdminSelectWidget, label="Days (UTC)")
    group = forms.ChoiceField(
        choices=[(name, name.capitalize()) for name in GROUPS],
        widget=UnfoldAdminSelectWidget,
        label="Group by",
    )
    organization = forms.ModelChoiceField(
        Organization.objects.all(),
        required=False,
        widget=OrganizationSelect(UsageRollup._meta.get_field("organization"), admin.site),
    )
    first = forms.DateField(
        required=False, label="From", widget=UnfoldAdminTextInputWidget(attrs={"type": "date"})
    )
    last = forms.DateField(
        required=False, label="To", widget=UnfoldAdminTextInputWidget(attrs={"type": "date"})
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("range") != "custom" or self.errors:
            return data
        first, last = data.get("first"), data.get("last")
        if first is None or last is None:
            self.add_error("first" if first is None else "last", "Choose a day.")
        elif last < first:
            self.add_error("last", "This day is before the first.")
        elif (last - first).days >= MOST_DAYS:
            self.add_error("last", f"Choose at most {MOST_DAYS} days.")
        return data


def days(asked: dict[str, Any], today: date) -> tuple[date, date]:
    """The first and the last day of the range that was chosen."""
    match asked["range"]:
        case "today":
            return today, today
        case "7d":
            return today - timedelta(days=6), today
        case "month":
            return today.replace(day=1), today
        case "last":
            end = today.replace(day=1) - timedelta(days=1)
            return end.replace(day=1), end
        case _:
            return asked["first"], asked["last"]
