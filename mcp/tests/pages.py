"""How the tests of pages ask, and as whom."""

from collections.abc import Sequence

from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.principal import SCOPES
from accounts.tests.people import Person, Role, join


def with_key(person: Person, scopes: Sequence[str] = SCOPES) -> APIClient:
    """A program with a key of this person."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {person.key(scopes=scopes)[1]}")
    return client


def operator() -> Person:
    """Somebody of the staff."""
    person = join("olga", Organization.objects.create(name="Operators"), Role.OWNER)
    person.user.is_staff = True
    person.user.save()
    rights = ["view_toolcall", "change_toolcall"]
    person.user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return person
