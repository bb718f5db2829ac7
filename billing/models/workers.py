"""The processes that have requests under way, so that others can tell which of them died."""

from django.db import models


class Worker(models.Model):
    """One process. It counts its beat up every few seconds; who stops counting is dead.

    A count and not a time: no clock needs to be right, and a jump of one settles nobody's rows.
    """

    id = models.UUIDField(primary_key=True)
    beat = models.PositiveBigIntegerField(default=0, db_default=0)
    name = models.CharField(max_length=100, help_text="Host and process id.")
    started_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
