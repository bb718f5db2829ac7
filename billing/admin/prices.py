"""Prices: versions are added; none is edited or deleted, for the ledger names them."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display

from accounts.trailed import TrailedAdmin
from billing.admin.fields import DollarsAdmin, dollars, multiplier
from billing.models import Price

COPIED = "version"  # the parameter that names the version a new one begins as
LATE = timedelta(minutes=10)  # a form takes a while to fill in; what is older was meant to be

VERSION = "Version"
IN_FORCE, FUTURE, SUPERSEDED, ENDED = "in force", "future", "superseded", "ended"
COLOURS = {IN_FORCE: "success", FUTURE: "info", SUPERSEDED: "warning", ENDED: "danger"}


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # Django itself is not generic
    """A new version of a price."""

    class Meta:
        model = Price
        fields = "__all__"  # noqa: DJ007  (the page names what it shows)

    def clean(self) -> dict[str, Any]:
        """Say what the database would only refuse."""
        data = super().clean() or {}
        begins, ends = data.get("valid_from"), data.get("valid_until")
        if begins and ends and ends <= begins:
            self.add_error("valid_until", "It ends before it begins.")
        if begins and Price.objects.filter(
            pattern=data.get("pattern", ""),
            upstream=data.get("upstream", ""),
            organization=data.get("organization"),
            is_default=bool(data.get("is_default")),
            valid_from=begins,
        ):
            self.add_error("valid_from", "Another version of this price begins at this moment.")
        return data


class StandingFilter(admin.SimpleListFilter):
    """Versions that count now, and those that do not."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(standing, standing) for standing in COLOURS]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        match self.value():
            case "in force":
                return rows.filter(_valid(now), is_overtaken=False)
            case "superseded":
                return rows.filter(_valid(now), is_overtaken=True)
            case "future":
                return rows.filter(valid_from__gt=now)
            case "ended":
                return rows.filter(valid_until__lte=now)
            case _:
                return rows


@admin.register(Price)
class PriceAdmin(DollarsAdmin, TrailedAdmin):
    """Dollars for a million tokens. A newer version takes over at its beginning."""

    form = PriceForm
    scaled_help = {
        "server_tool_nano": "For one use of a tool that runs at the upstream.",
        "multiplier_ppm": "On the whole amount: 1.2 charges a fifth more.",
    }
    list_display = [
        "pattern",
        "upstream",
        "organization",
        "standing",
        dollars("input_nano", "input $/M"),
        dollars("output_nano", "output $/M"),
        dollars("cache_read_nano", "cache read"),
        dollars("cache_write_5m_nano", "write 5 m"),
        dollars("cache_write_1h_nano", "write 1 h"),
        multiplier("multiplier_ppm"),
        "is_default",
        "valid_from",
        "version",
    ]
    list_filter = [StandingFilter, "is_default", ("organization", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["pattern", "upstream", "organization__name", "source"]
    search_help_text = "Pattern, upstream, organization or source"
    autocomplete_fields = ["organization"]
    readonly_fields = ["version", "standing_now", "created_at"]
    fieldsets = [
        ("For what", {"fields": [("pattern", "upstream"), "organization", "is_default"]}),
        (
            "Amounts",
            {
                "description": "Dollars for a million tokens of each class, or one use of a tool.",
                "fields": [
                    ("input_nano", "output_nano", "cache_read_nano"),
                    ("cache_write_5m_nano", "cache_write_1h_nano"),
                    ("server_tool_nano", "multiplier_ppm"),
                ],
            },
        ),
        ("When", {"fields": ["valid_from", "valid_until", "source"]}),
        (VERSION, {"fields": ["version", "standing_now", "created_at"]}),
    ]
    actions_detail = ["add_version"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        newer = Price.objects.filter(
            _valid(timezone.now()),
            pattern=OuterRef("pattern"),
            upstream=OuterRef("upstream"),
            is_default=OuterRef("is_default"),
            valid_from__gt=OuterRef("valid_from"),
        )
        theirs = Exists(newer.filter(organization=OuterRef("organization")))
        for_all = Exists(newer.filter(organization__isnull=True))
        overtaken = Q(theirs) | Q(for_all, organization__isnull=True)
        rows: QuerySet[Price] = super().get_queryset(request)
        return rows.annotate(
            is_overtaken=ExpressionWrapper(overtaken, output_field=BooleanField())
        ).select_related("organization")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A stored version shows its number and its standing; a new one has none."""
        return [
            part
            for part in super().get_fieldsets(request, obj)
            if obj is not None or part[0] != VERSION
        ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A new version begins as the one that it follows, and now."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        initial.setdefault("valid_from", timezone.now().replace(microsecond=0))
        number = request.GET.get(COPIED, "")
        former = Price.objects.filter(pk=int(number)).first() if number.isdecimal() else None
        if former is not None:
            stored = model_to_dict(former, exclude=["valid_from", "valid_until"])
            initial = stored | {"valid_from": initial["valid_from"]}
        return initial

    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        """The ledger names versions, so they stay as they are."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        """The same."""
        return False

    def has_version_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """A new version is a new row."""
        return bool(self.has_add_permission(request))

    def save_model(self, request: HttpRequest, obj: Price, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.valid_from < timezone.now() - LATE:
            text = (
                "This version begins in the past. Requests that were closed already keep the "
                "price they were charged at."
            )
            messages.warning(request, text)

    @action(  # type: ignore[untyped-decorator]  # unfold ships no types
        description="Add a new version of this",
        url_path="version",
        permissions=["version"],
    )
    def add_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        page = reverse("admin:billing_price_add")
        return HttpResponseRedirect(f"{page}?{urlencode({COPIED: object_id})}")

    @display(description="standing", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def standing(self, price: Any) -> str:
        now = timezone.now()
        if price.valid_from > now:
            return FUTURE
        if price.valid_until is not None and price.valid_until <= now:
            return ENDED
        return SUPERSEDED if price.is_overtaken else IN_FORCE

    @admin.display(description="standing")
    def standing_now(self, price: Price) -> str:
        return str(self.standing(price))

    @admin.display(description="version", ordering="id")
    def version(self, price: Price) -> int:
        return price.pk


def _valid(now: datetime) -> Q:
    """The rows that count at this moment."""
    return Q(valid_from__lte=now) & (Q(valid_until__isnull=True) | Q(valid_until__gt=now))
