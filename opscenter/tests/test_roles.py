"""What each role may do in the admin, page by page."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client

from accounts.admin.people import ROLES
from accounts.models import AuditEntry, Identity, Membership
from accounts.tests.people import Person
from accounts.tests.people import alice as alice
from accounts.trailed import ReadOnlyAdmin, TrailedAdmin
from mcp.states import State
from mcp.tests import machines
from opscenter import roles
from opscenter.navigation import GROUPS
from proxy.models import Upstream

pytestmark = pytest.mark.django_db

SignedIn = Callable[[str], Client]


@pytest.fixture
def as_role(db: None) -> SignedIn:
    """A browser of somebody with this role alone."""
    roles.write()

    def sign_in(name: str) -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.groups.add(Group.objects.get(name=name))
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


# Who may add to each table. Whoever may not is refused at the page itself.
ADDED_BY = {
    "auth/user": {"owner"},
    "auth/group": {"owner"},
    "accounts/organization": {"operator", "owner"},
    "accounts/apikey": {"operator", "owner"},
    "billing/plan": {"billing", "owner"},
    "billing/price": {"billing", "owner"},
    "billing/subscription": {"billing", "owner"},
    "proxy/upstream": {"operator", "owner"},
    "proxy/route": {"operator", "owner"},
    "proxy/agent": {"operator", "owner"},
    "proxy/crew": {"operator", "owner"},
    "mcp/organizationpolicy": {"operator", "owner"},
}
ADDED_BY_NOBODY = {
    "accounts/auditentry",
    "accounts/identity",
    "billing/alarm",
    "billing/allowance",
    "billing/webhookdelivery",
    "billing/usagerecord",
    "billing/outboxevent",
    "billing/worker",
    "mcp/approval",
    "mcp/auditedcall",
    "mcp/connector",
    "mcp/policyversion",
    "mcp/mcpserver",
    "mcp/toolcall",
    "proxy/owncredential",
}


def test_every_table_is_in_the_list_above() -> None:
    found = {model._meta.label_lower.replace(".", "/") for model in admin.site._registry}
    assert found == ADDED_BY.keys() | ADDED_BY_NOBODY


@pytest.mark.parametrize("role", ["viewer", "operator", "billing", "owner"])
def test_a_role_sees_every_table_and_adds_to_its_own(as_role: SignedIn, role: str) -> None:
    client = as_role(role)
    for table in [*ADDED_BY, *ADDED_BY_NOBODY]:
        assert client.get(f"/admin/{table}/").status_code == 200, table
        may_add = role in ADDED_BY.get(table, ())
        assert client.get(f"/admin/{table}/add/").status_code == (200 if may_add else 403), table


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("billing", False), ("operator", True), ("owner", True)]
)
def test_a_forged_form_changes_nothing(as_role: SignedIn, role: str, may: bool) -> None:
    row = Upstream.objects.create(name="mine", kind="anthropic", base_url="http://127.0.0.1:9")
    client = as_role(role)
    page = f"/admin/proxy/upstream/{row.pk}"
    assert client.get(f"{page}/change/").status_code == 200
    gone = client.post(f"{page}/delete/", {"post": "yes"})
    assert gone.status_code == (302 if may else 403)
    assert Upstream.objects.exists() is not may


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("billing", False), ("operator", True)]
)
def test_a_forged_action_does_nothing(
    as_role: SignedIn, role: str, may: bool, alice: Person
) -> None:
    key, _ = alice.key()
    client = as_role(role)
    body = {"action": "revoke_selected", "_selected_action": [key.pk], "confirmed": "yes"}
    client.post("/admin/accounts/apikey/", body)
    key.refresh_from_db()
    assert (key.revoked_at is not None) is may


def test_a_repeat_mends_a_role_and_leaves_other_groups(db: None) -> None:
    roles.write()
    viewer, own = Group.objects.get(name="viewer"), Group.objects.create(name="mine")
    own.permissions.set(Group.objects.get(name="owner").permissions.all()[:2])
    viewer.permissions.clear()
    roles.write()
    names = viewer.permissions.values_list("codename", flat=True)
    assert names and all(name.startswith("view_") for name in names)
    assert own.permissions.count() == 2


def test_an_owner_makes_no_superuser(as_role: SignedIn) -> None:
    root = User.objects.create_superuser("root", password="x" * 20)
    other = User.objects.create_user("other", password="x" * 20)
    client = as_role("owner")
    form: dict[str, Any] = {"username": "other", "is_superuser": "on", "is_active": "on"}
    form |= {"is_staff": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert client.post(f"/admin/auth/user/{other.pk}/change/", form).status_code == 302
    other.refresh_from_db()
    assert (other.is_staff, other.is_superuser) == (True, False)
    for page in ("change", "delete", "password"):
        response = client.post(f"/admin/auth/user/{root.pk}/{page}/", form | {"post": "yes"})
        assert response.status_code == 403, page
    root.refresh_from_db()
    assert (root.username, root.check_password("x" * 20)) == ("root", True)


def test_who_keeps_no_members_names_no_organization(as_role: SignedIn, alice: Person) -> None:
    page = f"/admin/accounts/organization/{alice.organization.pk}/change/"
    form = {"name": "Acme", "issuer": "https://x", "external_id": "mine"}
    form |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    as_role("billing").post(page, form)
    alice.organization.refresh_from_db()
    assert alice.organization.external_id == ""
    assert as_role("operator").post(page, form).status_code == 302
    alice.organization.refresh_from_db()
    assert alice.organization.external_id == "mine"


def test_who_signs_in_at_keycloak_gets_no_password_here(admin_client: Client) -> None:
    user = User.objects.create_user("ada")
    Identity.objects.create(id="@abc", user=user, issuer="https://x", subject="s")
    form = {"password1": "another-long-one", "password2": "another-long-one"}
    page = f"/admin/auth/user/{user.pk}/password/"
    assert admin_client.post(page, form).status_code == 403
    assert not User.objects.get(pk=user.pk).check_password("another-long-one")


@pytest.mark.parametrize(("role", "sees", "stops"), [("viewer", 200, 404), ("operator", 200, 200)])
def test_rest_goes_by_the_role_too(
    as_role: SignedIn, alice: Person, role: str, sees: int, stops: int
) -> None:
    call = machines.call(machines.machine(alice), State.QUEUED)
    client = as_role(role)
    page = f"/api/mcp/calls/{call.pk}"
    assert client.get(page).status_code == sees
    assert client.post(f"{page}/cancel").status_code == stops
    door = Client()
    door.force_login(
        User.objects.create_user("door", is_staff=True), "django.contrib.auth.backends.ModelBackend"
    )
    assert door.get(page).status_code == 404


def told() -> list[tuple[str, Any]]:
    return list(AuditEntry.objects.order_by("id").values_list("action", "details"))


def test_a_role_says_what_it_may_where_it_is_chosen(admin_client: Client) -> None:
    roles.write()
    user = User.objects.create_user("ada")
    page = admin_client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert ROLES.keys() == roles.MAY.keys()
    for name, says in ROLES.items():
        assert f">{name}: {says}</option>" in page


def test_pages_stand_under_the_name_that_the_menu_has(admin_client: Client) -> None:
    for group, pages in GROUPS.items():
        for _, _, model in pages:
            if model != "billing.worker":  # a table of billing's, and a page for operators
                app = apps.get_app_config(model.partition(".")[0])
                assert app.verbose_name == group, model


def test_rights_are_written_down(admin_client: Client) -> None:
    roles.write()
    group = Group.objects.get(name="viewer")
    user = User.objects.create_user("bea")
    form: dict[str, Any] = {"username": "bea", "is_active": "on", "is_staff": "on"}
    form |= {"groups": [group.pk], "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    admin_client.post(f"/admin/auth/user/{user.pk}/change/", form)
    actions = dict(told())
    assert actions["user.changed"]["changed"]["is_staff"] == [False, True]
    assert actions["user.granted"]["changed"]["groups"] == [[], ["viewer"]]


def test_a_password_is_written_down_without_itself(admin_client: Client) -> None:
    user = User.objects.create_user("bea", password="former-password-of-bea")
    form = {"password1": "another-long-one", "password2": "another-long-one"}
    form["usable_password"] = "true"
    page = f"/admin/auth/user/{user.pk}/password/"
    assert admin_client.post(page, form).status_code == 302
    assert [action for action, _ in told()] == ["user.password"]
    assert "hash" not in str(told()) and "$" not in str(told())


def test_a_place_in_an_organization_is_written_down(admin_client: Client, alice: Person) -> None:
    page = f"/admin/accounts/organization/{alice.organization.pk}/change/"
    place = alice.user.memberships.get()
    form = {
        "name": "Acme & Sons",
        "issuer": "",
        "external_id": "",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "1",
        "memberships-0-id": str(place.pk),
        "memberships-0-organization": str(alice.organization.pk),
        "memberships-0-user": str(alice.user.pk),
        "memberships-0-role": Membership.Role.ADMIN,
    }
    assert admin_client.post(page, form).status_code == 302
    actions = dict(told())
    assert actions["organization.changed"]["changed"]["name"] == ["Acme", "Acme & Sons"]
    assert actions["membership.changed"]["changed"]["role"] == ["owner", "admin"]


# They leave lines of their own, which their own tests look at.
BY_HAND = {"accounts.apikey", "mcp.organizationpolicy", "proxy.owncredential"}


def test_every_page_that_changes_something_leaves_a_line() -> None:
    silent = {
        model._meta.label_lower
        for model, page in admin.site._registry.items()
        if not isinstance(page, TrailedAdmin | ReadOnlyAdmin)
    }
    assert silent == BY_HAND
