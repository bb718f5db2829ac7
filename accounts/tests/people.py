"""Who appears in tests: alice and bob work together, charlie must see nothing of theirs."""

from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import datetime

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from accounts import auth, keys
from accounts.models import ApiKey, Membership, Organization
from accounts.principal import SCOPES

Role = Membership.Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user and the organization they work in."""

    user: User
    organization: Organization

    def key(
        self,
        name: str = "laptop",
        scopes: Sequence[str] = SCOPES,
        expires_at: datetime | None = None,
        made_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key of this person, and its plaintext."""
        key, plaintext = keys.issue(self.organization, self.user, name, scopes, expires_at)
        if made_at is not None:
            ApiKey.objects.filter(id=key.id).update(created_at=made_at)
        return key, plaintext

    def signed_in(self) -> APIClient:
        """A browser with this person's session."""
        client = APIClient()
        client.force_login(self.user)
        return client


def join(username: str, organization: Organization, role: Role) -> Person:
    """A new user with a place in `organization`."""
    user = User.objects.create(username=username)
    Membership.objects.create(organization=organization, user=user, role=role)
    return Person(user=user, organization=organization)


@pytest.fixture
def alice(db: None) -> Person:
    """The owner of her organization."""
    return join("alice", Organization.objects.create(name="Acme"), Role.OWNER)


@pytest.fixture
def bob(alice: Person) -> Person:
    """A member of Alice's organization."""
    return join("bob", alice.organization, Role.MEMBER)


@pytest.fixture
def charlie(db: None) -> Person:
    """The owner of another organization."""
    return join("charlie", Organization.objects.create(name="Other"), Role.OWNER)


@pytest.fixture(autouse=True)
def uses_written() -> Iterator[None]:
    """No test leaves a write of a key's last use to the next one."""
    yield
    wait(list(auth._under_way), timeout=30)
