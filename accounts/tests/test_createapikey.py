"""`manage.py createapikey`."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import keys
from accounts.models import ApiKey, AuditEntry, Membership, Organization
from accounts.principal import CALLBACK, MESSAGES, USAGE_READ
from accounts.tests.people import Person, Role


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("createapikey", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_it_prints_the_key_alone_on_stdout(alice: Person) -> None:
    out, err = run("--user", "alice", "--name", "server")
    key = ApiKey.objects.get()
    assert out.count("\n") == 1
    assert bytes(key.digest) == keys.digest(out.strip())
    assert (key.name, key.user, key.organization) == ("server", alice.user, alice.organization)
    assert key.scopes == [MESSAGES, CALLBACK]
    assert key.expires_at is None
    assert "shown only now" in err
    assert out.strip() not in err


def test_it_takes_scopes_and_an_end(alice: Person) -> None:
    run(
        *("--user", "alice", "--name", "x", "--scope", USAGE_READ, "--scope", MESSAGES),
        *("--expires-in-days", "2"),
    )
    key = ApiKey.objects.get()
    assert key.scopes == [MESSAGES, USAGE_READ]
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).total_seconds() == pytest.approx(2 * 86400, abs=60)


def test_it_finds_the_organization_by_name_or_id(alice: Person, charlie: Person) -> None:
    Membership.objects.create(user=alice.user, organization=charlie.organization, role=Role.MEMBER)
    run("--user", "alice", "--name", "x", "--organization", "Other")
    run("--user", "alice", "--name", "x", "--organization", str(charlie.organization.id))
    run("--user", "alice", "--name", "oldest")
    assert ApiKey.objects.filter(organization=charlie.organization).count() == 2
    assert ApiKey.objects.get(name="oldest").organization == alice.organization


def test_it_leaves_a_line_in_the_trail(alice: Person) -> None:
    run("--user", "alice", "--name", "x")
    line = AuditEntry.objects.get()
    assert (line.actor, line.action) == ("system", "key.created")
    assert line.subject == f"key:{ApiKey.objects.get().id}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"--user": "nobody"}, "there is no user 'nobody'"),
        ({"--name": " "}, "--name must have 1 to 100 characters"),
        ({"--name": "a" * 101}, "--name must have 1 to 100 characters"),
        ({"--scope": "admin"}, "--scope must be one of anthropic-proxy,.* not admin"),
        ({"--expires-in-days": "0"}, "--expires-in-days must be from 1 to 3650, not 0"),
        ({"--expires-in-days": "soon"}, "invalid int value"),
        ({"--organization": "Other"}, "alice is not a member of 'Other'"),
    ],
)
def test_it_says_what_is_wrong(
    alice: Person, charlie: Person, arguments: dict[str, str], says: str
) -> None:
    given: dict[str, Any] = {"--user": "alice", "--name": "x", **arguments}
    with pytest.raises(CommandError, match=says):
        run(*(word for pair in given.items() for word in pair))
    assert not ApiKey.objects.exists()


def test_it_refuses_to_guess_between_organizations_of_one_name(alice: Person) -> None:
    twin = Organization.objects.create(name="Acme")
    Membership.objects.create(user=alice.user, organization=twin, role=Role.MEMBER)
    with pytest.raises(CommandError, match=f"several are called 'Acme'.*{twin.id}"):
        run("--user", "alice", "--name", "x", "--organization", "Acme")


def test_it_refuses_a_deactivated_user_and_one_without_organization(alice: Person) -> None:
    Membership.objects.all().delete()
    with pytest.raises(CommandError, match="not a member of any organization"):
        run("--user", "alice", "--name", "x")
    alice.user.is_active = False
    alice.user.save()
    with pytest.raises(CommandError, match="deactivated"):
        run("--user", "alice", "--name", "x")
