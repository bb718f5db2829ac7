"""Make an API key from the command line. The key alone goes to stdout."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit, keys, tags
from accounts.models import Membership, Organization
from accounts.principal import CALLBACK, MESSAGES, SCOPES


class Command(BaseCommand):
    """Make an API key and print it once."""

    help = "Make an API key. It is printed once, alone on stdout."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, help="whom it belongs to: a username")
        parser.add_argument("--organization", help="name or id; without it, the user's oldest")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument(
            "--scope",
            action="append",
            dest="scopes",
            metavar="SCOPE",
            help=f"may be repeated; one of {', '.join(SCOPES)}; without it {MESSAGES}, {CALLBACK}",
        )
        parser.add_argument(
            "--service", action="store_true", help="a program's key, with limits of its own"
        )
        parser.add_argument(
            "--tag",
            action="append",
            dest="tags",
            metavar="TAG",
            help="may be repeated; for requests that bring none in x-opscenter-tags",
        )
        parser.add_argument("--expires-in-days", type=int, help="without it, the key has no end")

    def handle(self, *args: Any, **options: Any) -> None:
        name = _name(options["name"])
        scopes = _scopes(options["scopes"] or [MESSAGES, CALLBACK])
        wanted_tags = _tags(options["tags"] or [])
        expires_at = _end(options["expires_in_days"])
        user = _user(options["user"])
        organization = _organization(user, options["organization"])
        with transaction.atomic():
            key, plaintext = keys.issue(
                organization,
                user,
                name,
                scopes,
                expires_at,
                is_service=options["service"],
                tags=wanted_tags,
            )
            subject, details = audit.key(key.id), audit.made(key)
            audit.record(audit.KEY_CREATED, subject, audit.SYSTEM, organization, details)
        self.stderr.write(f"Key {key.name!r} of {user} in {organization}. It is shown only now:")
        self.stdout.write(plaintext)


def _name(raw: str) -> str:
    name = raw.strip()
    if not 0 < len(name) <= keys.NAME_CHARS or "\0" in name:
        raise CommandError(f"--name must have 1 to {keys.NAME_CHARS} characters")
    return name


def _scopes(raw: list[str]) -> list[str]:
    if unknown := set(raw) - set(SCOPES):
        raise CommandError(
            f"--scope must be one of {', '.join(SCOPES)}, not {', '.join(sorted(unknown))}"
        )
    return raw


def _tags(raw: list[str]) -> tuple[str, ...]:
    try:
        return tags.checked(dict.fromkeys(tag.strip() for tag in raw))
    except tags.TagsError as error:
        raise CommandError(f"--tag: {error}") from None


def _end(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= keys.DAYS_MOST:
        raise CommandError(f"--expires-in-days must be from 1 to {keys.DAYS_MOST}, not {days}")
    return timezone.now() + timedelta(days=days)


def _user(username: str) -> User:
    try:
        user = User.objects.get(username=username)
    except User.DoesNotExist:
        raise CommandError(f"--user: there is no user {username!r}") from None
    if not user.is_active:
        raise CommandError(f"--user: {username!r} is deactivated, so no key of theirs would work")
    return user


def _organization(user: User, wanted: str | None) -> Organization:
    mine = Membership.objects.filter(user=user).select_related("organization")
    if wanted is not None:
        mine = mine.filter(_named(wanted))
    found = [membership.organization for membership in mine.order_by("created_at", "id")]
    if not found:
        of = f"of {wanted!r}" if wanted is not None else "of any organization"
        raise CommandError(f"--organization: {user} is not a member {of}")
    if wanted is not None and len(found) > 1:
        ids = ", ".join(str(organization.id) for organization in found)
        raise CommandError(f"--organization: several are called {wanted!r}; say which: {ids}")
    return found[0]


def _named(wanted: str) -> Q:
    try:
        return Q(organization=UUID(wanted)) | Q(organization__name=wanted)
    except ValueError:
        return Q(organization__name=wanted)
