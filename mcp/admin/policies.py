"""Tool policies in the admin: edited here, each save a new version."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery, TextField
from django.http import HttpRequest
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.sane import SaneAdmin, SaneInline
from accounts.trailed import ReadOnlyAdmin, actor
from mcp import policies
from mcp.admin import shapes
from mcp.models import OrganizationPolicy, PolicyRule, PolicyVersion

COLOURS = {"allow": "success", "ask": "warning", "deny": "danger"}


class LowTextarea(UnfoldAdminTextareaWidget):  # type: ignore[misc]  # unfold ships no types
    """A rule seldom has more than three values."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"rows": 3, **(attrs or {})})


class Rules(SaneInline):
    """The rules, the first that fits decides."""

    model = PolicyRule
    extra = 0
    formfield_overrides: ClassVar = {TextField: {"widget": LowTextarea}}
    max_num = policies.MAX_RULES
    fields = ["position", "server", "tool", "argument", "kind", "values", "decision", "note"]


@admin.register(OrganizationPolicy)
class OrganizationPolicyAdmin(SaneAdmin):
    """One for each organization. It narrows what the machines' own policies allow."""

    list_display = ["organization", "otherwise", "rule_count", "version"]
    list_filter = ["otherwise"]
    search_fields = ["organization__name"]
    search_help_text = "Organization"
    inlines = [Rules]
    fieldsets = [
        (
            None,
            {
                "fields": ["organization", "otherwise", "version"],
                "description": (
                    "Rules are tried in their order and the first that fits decides: allow, ask a"
                    " person, or deny. A machine's own policy is asked in any case, so nothing here"
                    " lets a machine do what its owner forbids. Rules on arguments are hints:"
                    " there is more than one way to write a path or a command."
                ),
            },
        )
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrganizationPolicy]:
        """Each with its organization, how many rules it has, and the version that counts."""
        versions = PolicyVersion.objects.filter(organization=OuterRef("organization"))
        newest = versions.order_by("-version")
        rows: QuerySet[OrganizationPolicy] = super().get_queryset(request)
        return rows.select_related("organization").annotate(
            rules_there=Count("rules"),
            last_pk=Subquery(newest.values("pk")[:1]),
            last_version=Subquery(newest.values("version")[:1]),
            last_saved_at=Subquery(newest.values("saved_at")[:1]),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["version", *(["organization"] if obj else [])]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its versions would go on to count. One that does nothing has no rules, and allows."""
        return False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        saved = policies.save(form.instance, user_id=request.user.pk, actor=actor(request))
        if saved is None:
            self.message_user(request, "Nothing has changed, so no version was made.")
            return
        text = f"Version {saved.version} holds from now on. What waits is asked about anew."
        self.message_user(request, text, messages.SUCCESS)

    @admin.display(description="rules")
    def rule_count(self, row: Any) -> int:
        return int(row.rules_there)

    @admin.display(description="version")
    def version(self, row: Any) -> str:
        if getattr(row, "last_pk", None) is None:
            return "-"
        return shapes.link(
            "policyversion", row.last_pk, f"{row.last_version}, of {row.last_saved_at:%d %b %Y}"
        )


@admin.register(PolicyVersion)
class PolicyVersionAdmin(ReadOnlyAdmin):
    """What each version said. The newest of an organization counts."""

    list_display = ["organization", "version", "otherwise_coloured", "rule_count", "saved_at"]
    list_select_related = ["organization"]
    search_fields = ["organization__name"]
    search_help_text = "Organization"
    ordering = ["-saved_at", "-id"]
    paginator = InfinitePaginator
    fields = ["organization", "version", "otherwise", "its_rules", "saved_at", "saved_by"]

    @display(description="otherwise", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def otherwise_coloured(self, row: PolicyVersion) -> str:
        return row.otherwise

    @admin.display(description="rules")
    def rule_count(self, row: PolicyVersion) -> int:
        return len(row.rules)

    @admin.display(description="rules")
    def its_rules(self, row: PolicyVersion) -> str:
        return shapes.json_value(row.rules)
