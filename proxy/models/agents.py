"""Agents and crews, as operators define them."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Organization
from proxy import wishes
from proxy.agents import MOST_ROUNDS, Bounds
from proxy.validators import finite, task_types, toolsets

SLUG_HELP = "Part of its model name; lower-case letters, digits, - and _."
TASKS_HELP = "What it is chosen for where a request asks for claude-brigade-auto."
THERE_ALREADY = "There is one of this slug already."
INSTRUCTION_CHARS = 100_000  # about 25,000 tokens, paid for with every turn
MOST_TURNS = 200
MOST_CALLS = 2000
MOST_S = 3600
MOST_NANO = 1_000_000 * 1_000_000_000  # a million dollars


class Agent(models.Model):
    """Instructions, a model and tools under a name."""

    slug = models.SlugField(
        max_length=wishes.SLUG_CHARS, help_text=f"{SLUG_HELP} claude-agent-slug"
    )
    name = models.CharField(max_length=200)
    description = models.CharField(
        max_length=500, blank=True, help_text="Shown where people choose a model."
    )
    instructions = models.TextField(
        blank=True,
        max_length=INSTRUCTION_CHARS,
        help_text="What it is told after the request's own system prompt.",
    )
    model = models.CharField(
        max_length=256,
        blank=True,
        help_text="The model whose route is asked. Empty: the one that the request names, or "
        "OPSCENTER_AGENT_MODEL where that is an agent.",
    )
    toolsets = models.JSONField(
        default=list,
        blank=True,
        validators=[toolsets],
        help_text='Servers whose tools it has: [{"url": "tunnel://laptop/files", '
        '"allow": ["read_file"]}]',
    )
    task_types = models.JSONField(
        default=list, blank=True, validators=[task_types], help_text=TASKS_HELP
    )
    position = models.PositiveIntegerField(
        default=100, help_text="Of several for the same type of task, the lowest is chosen."
    )
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="agents",
        help_text="Only for this organization. Empty: for all.",
    )
    enabled = models.BooleanField(default=True)

    most_turns = models.PositiveIntegerField(
        "turns",
        default=Bounds().turns,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_TURNS)],
        help_text="How often the model is asked for one request.",
    )
    most_calls = models.PositiveIntegerField(
        "tool calls",
        default=Bounds().calls,
        validators=[MaxValueValidator(MOST_CALLS)],
        help_text="For one request. 0: none.",
    )
    most_s = models.FloatField(
        "seconds",
        default=Bounds().wall_s,
        validators=[finite, MinValueValidator(1), MaxValueValidator(MOST_S)],
        help_text="From the request to the end of its answer.",
    )
    most_cost_nano = models.BigIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(MOST_NANO)]
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["position", "slug", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(organization=None),
                name="one_agent_each",
                violation_error_message=THERE_ALREADY,
            ),
            models.UniqueConstraint(
                fields=["slug", "organization"],
                name="one_agent_each_organization",
                violation_error_message=THERE_ALREADY,
            ),
            models.CheckConstraint(name="an_agent_has_a_turn", condition=Q(most_turns__gte=1)),
        ]

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        """Say what nobody would notice before a request fails."""
        self.toolsets = self.toolsets or []  # of an emptied field a form makes None
        problems: dict[str, Any] = _slug_problems(self.slug)
        if wishes.is_reserved(self.model):
            problems["model"] = "This is an agent itself: name a model that a route leads to."
        elif "*" in self.model:
            problems["model"] = "A * stands for nothing here: enter one name."
        if crew := self._crew_of_others():
            problems["organization"] = f"It is in the crew {crew}, which is for others as well."
        if problems:
            raise ValidationError(problems)

    def _crew_of_others(self) -> "Crew | None":
        """A crew that holds it, and that people may ask who may not ask this agent."""
        if self.pk is None or self.organization_id is None:
            return None
        crews = Crew.objects.filter(Q(agents=self) | Q(synthesizer=self))
        return crews.exclude(organization=self.organization_id).first()


class Crew(models.Model):
    """Several agents on one request. It holds agents only, so it can never hold itself."""

    class Kind(models.TextChoices):
        SINGLE = "single", "Single (one agent answers)"
        CHAIN = "chain", "Chain (the first works, the others review)"
        FAN_OUT = "fan_out", "Fan-out (all at once, one puts it together)"

    slug = models.SlugField(max_length=wishes.SLUG_CHARS, help_text=f"{SLUG_HELP} claude-crew-slug")
    name = models.CharField(max_length=200)
    description = models.CharField(
        max_length=500, blank=True, help_text="Shown where people choose a model."
    )
    kind = models.CharField(max_length=10, choices=Kind)
    agents = models.ManyToManyField(Agent, through="CrewMember", related_name="crews")
    rounds = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_ROUNDS)],
        help_text="Of a chain: how often its reviewers may ask for changes.",
    )
    synthesizer = models.ForeignKey(
        Agent,
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="synthesizes",
        help_text="Of a fan-out: who puts the answers together. Empty: its first agent.",
    )
    task_types = models.JSONField(
        default=list, blank=True, validators=[task_types], help_text=f"{TASKS_HELP} Before agents."
    )
    position = models.PositiveIntegerField(
        default=100, help_text="Of several for the same type of task, the lowest is chosen."
    )
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="crews",
        help_text="Only for this organization. Empty: for all.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["position", "slug", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(organization=None),
                name="one_crew_each",
                violation_error_message=THERE_ALREADY,
            ),
            models.UniqueConstraint(
                fields=["slug", "organization"],
                name="one_crew_each_organization",
                violation_error_message=THERE_ALREADY,
            ),
            models.CheckConstraint(
                name="a_known_crew_kind", condition=Q(kind__in=["single", "chain", "fan_out"])
            ),
            models.CheckConstraint(
                name="a_crew_ends", condition=Q(rounds__gte=1, rounds__lte=MOST_ROUNDS)
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        """Say what nobody would notice before a request fails."""
        problems: dict[str, Any] = _slug_problems(self.slug)
        if self.synthesizer_id and self.kind != self.Kind.FAN_OUT:
            problems["synthesizer"] = "Only a fan-out has answers to put together."
        elif self.synthesizer and not self.may_hold(self.synthesizer):
            problems["synthesizer"] = "This agent is another organization's."
        if self.rounds != 1 and self.kind != self.Kind.CHAIN:
            problems["rounds"] = "Only a chain goes round: enter 1."
        if problems:
            raise ValidationError(problems)

    def may_hold(self, agent: Agent) -> bool:
        """Whether an agent is for everybody whom this crew is for."""
        return agent.organization_id in (None, self.organization_id)


class CrewMember(models.Model):
    """One agent's place in a crew."""

    crew = models.ForeignKey(Crew, models.CASCADE, related_name="members")
    agent = models.ForeignKey(Agent, models.RESTRICT, related_name="memberships")
    position = models.PositiveSmallIntegerField(default=1, help_text="The lowest comes first.")

    class Meta:
        ordering = ["crew_id", "position", "id"]
        verbose_name = "member"

    def __str__(self) -> str:
        return f"{self.agent} in {self.crew}"


def _slug_problems(slug: str) -> dict[str, Any]:
    if slug and (slug != slug.lower() or slug == "auto"):
        return {"slug": "Lower-case letters, digits, - and _; auto means whoever suits."}
    return {}
