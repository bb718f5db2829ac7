"""API keys in the admin."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html

from accounts import audit, keys
from accounts.forms import KeyForm, NewKeyForm
from accounts.models import ApiKey
from accounts.sane import SaneAdmin

CLOSED_AT_ONCE = 200  # two pages of the list; all at once is a job for a script
# Each shows a secret on the next page, without its name, which may be long. As many messages as
# this travel in the browser's cookie; more would go into the session, and so into the database.
ROTATED_AT_ONCE = 5


class StatusFilter(admin.SimpleListFilter):
    """Keys that open something, and keys that no longer do."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status) for status in ("active", "expired", "revoked")]

    def queryset(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        over = Q(expires_at__lte=timezone.now())
        match self.value():
            case "active":
                return rows.filter(Q(expires_at__isnull=True) | ~over, revoked_at__isnull=True)
            case "expired":
                return rows.filter(over, revoked_at__isnull=True)
            case "revoked":
                return rows.filter(revoked_at__isnull=False)
            case _:
                return rows


@admin.register(ApiKey)
class ApiKeyAdmin(SaneAdmin):
    """Keys: made, renamed, rotated and revoked here, but never deleted and never read again."""

    list_display = [
        "name",
        "prefix",
        "organization",
        "user",
        "scope_names",
        "status",
        "last_used_at",
        "created_at",
    ]
    list_filter = [StatusFilter, "created_at", "last_used_at"]
    list_select_related = ["organization", "user"]
    search_fields = ["name", "id", "organization__name", "user__username"]
    search_help_text = "Name, id, organization or user"
    ordering = ["-created_at", "-id"]
    autocomplete_fields = ["organization", "user"]
    actions = ["rotate_selected", "revoke_selected"]
    new_fields = ["organization", "user", "name", "scopes", "is_service", "tags", "expires_at"]
    shown_fields = [
        "prefix",
        "organization",
        "user",
        "scope_names",
        "is_service",
        "status",
        "created_at",
        "expires_at",
        "last_used_at",
        "rotated_at",
        "former_until",
        "revoked_at",
    ]

    @admin.display(description="scopes")
    def scope_names(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="status")
    def status(self, key: ApiKey) -> str:
        return key.status(now=timezone.now())

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["name", "tags", *self.shown_fields] if obj else self.new_fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return self.shown_fields if obj else []

    def get_form(
        self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **more: Any
    ) -> Any:
        form = KeyForm if obj else NewKeyForm
        found = super().get_form(request, obj, change, **more | {"form": form})
        found.acting = request.user  # the class is this request's own
        return found

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False  # usage and the audit trail point at keys; revoking is what ends one

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            _change(request, obj, set(form.changed_data))
            return
        key, plaintext = keys.issue(
            obj.organization,
            obj.user,
            obj.name,
            obj.scopes,
            obj.expires_at,
            is_service=obj.is_service,
            tags=obj.tags,
        )
        obj.id = key.id  # the form's object stands for the stored row from here on
        _record(audit.KEY_CREATED, request, key, **audit.made(key))
        _show_once(request, key, plaintext)

    @admin.action(description="Revoke…", permissions=["change"])
    def revoke_selected(
        self, request: HttpRequest, chosen: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        text = "These keys stop working within seconds, for good."
        if ask := self._ask(request, chosen, "revoke_selected", text, most=CLOSED_AT_ONCE):
            return ask
        self._each(request, chosen, _revoke, "revoked")
        return None

    @admin.action(description="Rotate…", permissions=["change"])
    def rotate_selected(
        self, request: HttpRequest, chosen: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        text = f"New secrets are shown once; the present ones work {keys.GRACE_HOURS} hours more."
        if ask := self._ask(request, chosen, "rotate_selected", text, most=ROTATED_AT_ONCE):
            return ask
        self._each(request, chosen, _rotate, "rotated")
        return None

    def _ask(
        self,
        request: HttpRequest,
        chosen: QuerySet[ApiKey],
        action: str,
        text: str,
        *,
        most: int,
    ) -> HttpResponse | None:
        """The page that asks first; None when the answer has come."""
        rows = list(chosen[: most + 1])
        if len(rows) > most:
            self.message_user(request, f"Choose at most {most} keys.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        if request.POST.get("confirmed") == "yes":
            return None
        page = {
            **self.admin_site.each_context(request),
            "title": "Are you sure?",
            "opts": self.opts,
            "rows": rows,
            "text": text,
            "action": action,
        }
        return TemplateResponse(request, "admin/accounts/apikey/confirm.html", page)

    def _each(
        self,
        request: HttpRequest,
        chosen: QuerySet[ApiKey],
        act: Callable[[HttpRequest, ApiKey], bool],
        done: str,
    ) -> None:
        outcomes = [act(request, key) for key in chosen]
        self.message_user(request, f"{sum(outcomes)} {done}.", messages.SUCCESS)
        if late := outcomes.count(False):
            self.message_user(request, f"{late} left alone: not active any more.", messages.WARNING)


def _change(request: HttpRequest, key: ApiKey, changed: set[str]) -> None:
    # These alone: the rest of the row may have changed since the form was opened.
    keys.describe(key)
    if "name" in changed:
        _record(audit.KEY_RENAMED, request, key, name=key.name)
    if "tags" in changed:
        _record(audit.KEY_TAGGED, request, key, tags=key.tags)


def _revoke(request: HttpRequest, key: ApiKey) -> bool:
    with transaction.atomic():
        if not keys.revoke(key):
            return False
        _record(audit.KEY_REVOKED, request, key, name=key.name)
    return True


def _rotate(request: HttpRequest, key: ApiKey) -> bool:
    try:
        with transaction.atomic():
            plaintext = keys.rotate(key, timedelta(hours=keys.GRACE_HOURS))
            _record(audit.KEY_ROTATED, request, key, name=key.name, grace_hours=keys.GRACE_HOURS)
    except keys.ClosedKeyError:
        return False
    _show_once(request, key, plaintext)
    return True


def _record(action: str, request: HttpRequest, key: ApiKey, **details: Any) -> None:
    assert request.user.pk is not None  # noqa: S101  (the admin lets only signed-in people in)
    actor = audit.user(request.user.pk)
    audit.record(action, audit.key(key.id), actor, key.organization, details)


def _show_once(request: HttpRequest, key: ApiKey, plaintext: str) -> None:
    text = format_html(
        "The key {} is shown only now, copy it: <code>{}</code>", key.prefix, plaintext
    )
    messages.warning(request, text)
