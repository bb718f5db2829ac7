"""Agents and crews in the admin."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.forms.models import BaseInlineFormSet
from unfold.admin import TabularInline

from accounts.trailed import TrailedAdmin
from proxy.agents import MOST_IN_CREW
from proxy.models import Agent, Crew, CrewMember


@admin.register(Agent)
class AgentAdmin(TrailedAdmin):
    list_display = ["slug", "name", "model", "tasks", "organization", "position", "enabled"]
    list_editable = ["position", "enabled"]
    list_filter = ["enabled", ("organization", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["slug", "name", "description", "organization__name"]
    search_help_text = "Name, description or organization"
    autocomplete_fields = ["organization"]
    fieldsets = [
        (None, {"fields": ["slug", "name", "description", "organization", "enabled"]}),
        ("What it does", {"fields": ["instructions", "model", "toolsets"]}),
        ("When it is chosen", {"fields": ["task_types", "position"]}),
        ("Bounds", {"fields": [("most_turns", "most_calls"), ("most_s", "most_cost_nano")]}),
    ]

    @admin.display(description="task types")
    def tasks(self, agent: Agent) -> str:
        return ", ".join(agent.task_types)


class MemberFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # generic in the stubs alone
    """The agents of one crew, which must be for everybody whom the crew is for."""

    def clean(self) -> None:
        """Say which agent cannot stand there."""
        super().clean()
        kept = [one for one in self.forms if one.cleaned_data and not one.cleaned_data["DELETE"]]
        agents = [one.cleaned_data["agent"] for one in kept if one.cleaned_data.get("agent")]
        if len(agents) > MOST_IN_CREW:
            raise ValidationError(f"A crew has at most {MOST_IN_CREW} agents.")
        for agent in agents:
            if not self.instance.may_hold(agent):
                raise ValidationError(f"The agent {agent} is another organization's.")


class Members(TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = CrewMember
    formset = MemberFormSet
    extra = 0
    fields = ["agent", "position"]

    def get_queryset(self, request: Any) -> Any:
        """Each row names its agent and its crew."""
        return super().get_queryset(request).select_related("agent", "crew")


@admin.register(Crew)
class CrewAdmin(TrailedAdmin):
    list_display = ["slug", "name", "kind", "tasks", "organization", "position", "enabled"]
    list_editable = ["position", "enabled"]
    list_filter = ["kind", "enabled"]
    list_select_related = ["organization"]
    search_fields = ["slug", "name", "description", "organization__name"]
    search_help_text = "Name, description or organization"
    autocomplete_fields = ["organization", "synthesizer"]
    inlines = [Members]
    fieldsets = [
        (None, {"fields": ["slug", "name", "description", "organization", "enabled"]}),
        ("How it works", {"fields": ["kind", "rounds", "synthesizer"]}),
        ("When it is chosen", {"fields": ["task_types", "position"]}),
    ]

    @admin.display(description="task types")
    def tasks(self, crew: Crew) -> str:
        return ", ".join(crew.task_types)
