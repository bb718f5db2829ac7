"""Work that an agent elsewhere does for a user's request, and what it may run for it."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.models import Organization


class Task(models.Model):
    """One task, from being handed out until its work is done. Only `mcp.tasks` writes it.

    Its token says no more than its id: what the token opens stands here, and ends here.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    api_key_id = models.CharField(max_length=12, help_text="The key whose request it works for")
    request_id = models.CharField(max_length=64, help_text="Of that request")
    step = models.UUIDField(null=True, help_text="The row of the ledger that it is part of")
    tools = models.JSONField(help_text="What it may run: name, server, tool, served, machine")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"task of {self.request_id}"
