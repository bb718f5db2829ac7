"""Agents and crews in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts.sane import SaneInline
from accounts.trailed import TrailedAdmin
from billing.admin.fields import DollarsAdmin
from proxy import wishes
from proxy.agent_forms import AgentForm, CrewForm, MemberFormSet
from proxy.agents import MOST_IN_CREW
from proxy.models import Agent, Crew, CrewMember

FOR_ALL = ("organization", admin.EmptyFieldListFilter)


def types_of(row: Agent | Crew) -> str:
    """Its types of tasks, in words."""
    return ", ".join(row.task_types).replace("_", " ") or "-"


@admin.register(Agent)
class AgentAdmin(DollarsAdmin, TrailedAdmin):
    """Instructions, a model and tools under a name. Holds within settings.MEMORY_TTL_S."""

    form = AgentForm
    dollars_help = "For one request. Empty: what the caller's own limits leave."
    list_display = ["name", "public_name", "asks", "tasks", "position", "organization", "enabled"]
    list_editable = ["position", "enabled"]
    list_filter = ["enabled", FOR_ALL]
    list_select_related = ["organization"]
    search_fields = ["slug", "name", "description", "model", "organization__name"]
    search_help_text = "Slug, name, model or organization"
    autocomplete_fields = ["organization"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "description", "organization", "enabled"]}),
        ("What it does", {"fields": ["instructions", "model", "toolsets"]}),
        ("When it is chosen", {"fields": ["task_types", "position"]}),
        (
            "Limits of one request",
            {"fields": [("most_turns", "most_calls", "most_s"), "most_cost_nano"]},
        ),
    ]

    @admin.display(description="model name", ordering="slug")
    def public_name(self, agent: Agent) -> str:
        return wishes.AGENT_PREFIX + agent.slug

    @admin.display(description="asks", ordering="model")
    def asks(self, agent: Agent) -> str:
        return agent.model or "the model of the request"

    @admin.display(description="chosen for")
    def tasks(self, agent: Agent) -> str:
        return types_of(agent)


class Members(SaneInline):
    """The agents of a crew, in their order."""

    model = CrewMember
    formset = MemberFormSet
    extra = 0
    max_num = MOST_IN_CREW
    fields = ["position", "agent"]
    autocomplete_fields = ["agent"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CrewMember]:
        """Each row names its agent."""
        members: QuerySet[CrewMember] = super().get_queryset(request)
        return members.select_related("agent", "crew")


@admin.register(Crew)
class CrewAdmin(TrailedAdmin):
    """Several agents on one request. Holds within settings.MEMORY_TTL_S."""

    form = CrewForm
    list_display = [
        "name",
        "public_name",
        "kind",
        "size",
        "tasks",
        "position",
        "organization",
        "enabled",
    ]
    list_editable = ["position", "enabled"]
    list_filter = ["kind", "enabled", FOR_ALL]
    list_select_related = ["organization"]
    search_fields = ["slug", "name", "description", "organization__name"]
    search_help_text = "Slug, name or organization"
    autocomplete_fields = ["organization", "synthesizer"]
    inlines = [Members]
    fieldsets = [
        (None, {"fields": ["name", "slug", "description", "organization", "enabled"]}),
        ("How they work together", {"fields": ["kind", "rounds", "synthesizer"]}),
        ("When it is chosen", {"fields": ["task_types", "position"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Crew]:
        crews: QuerySet[Crew] = super().get_queryset(request)
        return crews.annotate(agents_there=Count("members"))

    @admin.display(description="model name", ordering="slug")
    def public_name(self, crew: Crew) -> str:
        return wishes.CREW_PREFIX + crew.slug

    @admin.display(description="agents", ordering="agents_there")
    def size(self, crew: Any) -> int:
        return int(crew.agents_there)

    @admin.display(description="chosen for")
    def tasks(self, crew: Crew) -> str:
        return types_of(crew)
