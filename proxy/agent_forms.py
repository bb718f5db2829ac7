"""The forms of agents and crews."""

from typing import Any

from django import forms
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from proxy.agents import MOST_IN_CREW
from proxy.intent import TASK_TYPES
from proxy.models import Agent, Crew
from proxy.models.agents import TASKS_HELP

LEAST = {Crew.Kind.SINGLE: 1, Crew.Kind.CHAIN: 2, Crew.Kind.FAN_OUT: 2}
MOST = {Crew.Kind.SINGLE: 1, Crew.Kind.CHAIN: MOST_IN_CREW, Crew.Kind.FAN_OUT: MOST_IN_CREW}


def _types(help_text: str) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        choices=[(kind, kind.replace("_", " ").capitalize()) for kind in TASK_TYPES],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=help_text,
    )


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]  # Django itself is not generic
    """An agent; its types of tasks are ticked rather than written."""

    task_types = _types(TASKS_HELP)

    class Meta:
        model = Agent
        fields = "__all__"  # noqa: DJ007  (the page names what it shows)


class CrewForm(forms.ModelForm):  # type: ignore[type-arg]  # Django itself is not generic
    """A crew; the agents in it are rows below."""

    task_types = _types(f"{TASKS_HELP} A crew comes before an agent.")

    class Meta:
        model = Crew
        fields = "__all__"  # noqa: DJ007  (the page names what it shows)


class MemberFormSet(PaginationInlineFormSet):  # type: ignore[misc]  # unfold ships no types
    """The agents of a crew."""

    def clean(self) -> None:
        """Find what nobody would notice before a request fails."""
        super().clean()
        crew: Crew = self.instance
        count = 0
        for form in self.forms:
            data: dict[str, Any] | None = getattr(form, "cleaned_data", None)
            if not data or form.errors or data.get("DELETE"):
                continue
            count += 1
            if not crew.may_hold(data["agent"]):
                form.add_error("agent", "This agent is for one other organization only.")
        if any(form.errors for form in self.forms) or crew.kind not in LEAST:
            return
        least, most = LEAST[Crew.Kind(crew.kind)], MOST[Crew.Kind(crew.kind)]
        if not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise forms.ValidationError(
                f"A crew of this kind has {wanted} agents; here are {count}."
            )
