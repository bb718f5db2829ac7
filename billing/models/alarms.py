"""What an operator should look at: one row for each thing that is wrong, with a count."""

from django.db import models


class Alarm(models.Model):
    """Something that billing could not do as it should. The request of the user went on."""

    class Code(models.TextChoices):
        UNKNOWN_PRICE = "unknown_price", "A model without a price, charged at the default"
        BAD_USAGE = "bad_usage", "An upstream reported usage that cannot be, and it was clamped"
        DEAD_WORKER = "dead_worker", "A process died, and its requests were settled as estimates"
        UNKNOWN_PLAN = "unknown_plan", "A plan that is not there: no limits apply"
        PARKED_EVENT = "parked_event", "Lago refuses an event"
        LAGO_AWAY = "lago_away", "Lago does not answer; usage waits in the outbox"
        LOST_CLOSING = "lost_closing", "A request was settled as an estimate before it ended"

    code = models.CharField(max_length=20, choices=Code)
    subject = models.CharField(max_length=300, help_text="The model, upstream or organization.")
    detail = models.TextField(blank=True, default="", db_default="")
    count = models.PositiveBigIntegerField(default=1, db_default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "subject"], name="one_alarm_for_each_thing")
        ]

    def __str__(self) -> str:
        return f"{self.get_code_display()}: {self.subject}"
