"""Answers that are given in turns, for as long as a retry may come for one."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class GivenAnswer(models.Model):
    """One answer, from its first question to a minute after its end. Only `proxy.given` writes it.

    The row is the claim as well: of all processes that get the same request one gives the answer.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        TOLD = "told", "Told to its end"
        BROKEN = "broken", "Broken off"

    digest = models.CharField(max_length=64, unique=True, help_text="What makes a request the same")
    request_id = models.UUIDField(help_text="Of the request for which it is given")
    worker = models.UUIDField(help_text="The process that gives it")
    state = models.CharField(max_length=7, choices=State, default=State.RUNNING)
    has_effects = models.BooleanField(
        default=False, help_text="Something was begun for it that must not be done twice"
    )
    begun_at = models.DateTimeField(db_default=Now())
    followed_at = models.DateTimeField(null=True, help_text="Last, by another process")
    ended_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="a_known_state_of_an_answer",
                condition=Q(state__in=["running", "told", "broken"]),
            ),
            models.CheckConstraint(
                name="an_answer_runs_or_has_ended",
                condition=Q(state="running", ended_at__isnull=True)
                | Q(~Q(state="running"), ended_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"answer to req_{self.request_id.hex}"


class GivenPart(models.Model):
    """Some of an answer's events, as they were told. The first part is its headers, as JSON."""

    request_id = models.UUIDField()
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["request_id", "number"], name="one_part_each_number")
        ]

    def __str__(self) -> str:
        return f"part {self.number} of the answer to req_{self.request_id.hex}"
