"""What the ledger's tests share."""

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from accounts.models import Organization
from accounts.tests import people
from billing import ledger, writer
from billing.ledger import Admission
from tests import lago as standing_in

alice, bob, charlie = people.alice, people.bob, people.charlie
lago = standing_in.lago

alice, bob, charlie, uses_written = people.alice, people.bob, people.charlie, people.uses_written


@pytest.fixture
async def writing(transactional_db: None) -> AsyncIterator[writer.Writer]:
    """The running loop's writer, ended after the test."""
    yield writer.current()
    await writer.shutdown()
    # What the test read was read on a thread of its loop, which keeps its connection.
    await sync_to_async(lambda: connection.close())()


@pytest.fixture
def admission(transactional_db: None) -> Admission:
    """A request that may be admitted."""
    organization = Organization.objects.create(name="Wonderland")
    alice = User.objects.create_user("alice")
    return Admission(
        id=ledger.new_id(),
        organization_id=organization.id,
        user_id=alice.pk,
        api_key_id="0123456789ab",
        requested_model="claude-opus-5-5",
        target_model="qwen",
        upstream="scripted",
        streamed=True,
        session_id="s" * 300,
        agent_id="with\0nul",
    )
