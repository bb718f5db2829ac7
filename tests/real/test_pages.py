"""The pages in a real browser, wide and narrow, light and dark: nobody is kept out of them."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User

from accounts import keys
from accounts.models import Membership, Organization
from accounts.principal import CALLBACK, MESSAGES
from accounts.tests.people import Person
from mcp.tests.machines import machine
from mcp.tests.test_approval_pages import waiting
from tests.gateway import Gateway, eventually
from tests.polling import machine_of
from tests.real.browser import LOOKS, Chromium, Look, Page

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse battery staple"
FOR_ANYBODY = {
    "home": "/",
    "sign-in": "/sign-in/",
    "admin-sign-in": "/admin/login/",
}
OF_STAFF = {"approvals": "/approvals/", "admin": "/admin/", "live": "/admin/live/"}
OF_PEOPLE = {
    f"portal-{name}": f"/portal/{path}"
    for name, path in {
        "home": "",
        "keys": "keys/",
        "new-key": "keys/new/",
        "claude-code": "claude-code/",
        "machine": "machine/",
        "usage": "usage/",
        "limits": "limits/",
    }.items()
}

in_each_look = pytest.mark.parametrize("look", LOOKS, ids=str)


@pytest.fixture
def ada(alice: Person) -> User:
    """She runs the gateway, and belongs to an organization of which a call waits for her."""
    ada = User.objects.create_superuser("ada", "ada@example.org", PASSWORD)
    Membership.objects.create(user=ada, organization=alice.organization)
    here = Person(user=ada, organization=alice.organization)
    waiting(here, {"command": "rm -r build && make\n" * 3, "<b>name</b>": ["a", {"b": None}]})
    return ada


def findings(page: Page, url: str, paths: dict[str, str]) -> list[str]:
    found = []
    for name, path in paths.items():
        page.open(f"{url}{path}")
        assert page.url == f"{url}{path}"
        found += page.findings(name)
    return found


@in_each_look
def test_pages_for_anybody(chromium: Chromium, server: Gateway, look: Look) -> None:
    with chromium.page(look) as page:
        assert findings(page, server.url, FOR_ANYBODY) == []


@in_each_look
def test_pages_of_staff(chromium: Chromium, server: Gateway, look: Look, ada: User) -> None:
    with chromium.page(look) as page:
        sign_in(page, server.url)
        page.open(f"{server.url}/approvals/")
        assert "rm -r build" in page.text()
        assert findings(page, server.url, OF_STAFF) == []


@in_each_look
def test_the_portals_pages(chromium: Chromium, server: Gateway, look: Look, ada: User) -> None:
    key, _ = keys.issue(Organization.objects.get(), ada, "<b>laptop</b>", [MESSAGES], None)
    of_key = {f"portal-{verb}": f"/portal/keys/{key.pk}/{verb}/" for verb in ("rotate", "revoke")}
    with chromium.page(look) as page:
        sign_in(page, server.url)
        assert findings(page, server.url, OF_PEOPLE | of_key) == []


def test_the_admins_lists(chromium: Chromium, server: Gateway, ada: User) -> None:
    tables = [model._meta for model in admin.site._registry]
    lists = {
        f"admin-{one.model_name}": f"/admin/{one.app_label}/{one.model_name}/" for one in tables
    }
    with chromium.page() as page:
        sign_in(page, server.url)
        assert findings(page, server.url, lists) == []


def test_the_live_page_moves_by_itself(chromium: Chromium, server: Gateway, ada: User) -> None:
    with chromium.page() as page:
        sign_in(page, server.url)
        page.open(f"{server.url}/admin/live/")
        assert "desk-of-ada" not in page.text()
        machine(Person(user=ada, organization=Organization.objects.get()), "desk-of-ada")
        eventually(lambda: "desk-of-ada" in page.text())
        assert page.findings("live-with-machine") == []


RINGS = """
window.rings = 0;
document.querySelector("[data-bell]").addEventListener("rung", () => window.rings++);
"""


def test_the_live_page_is_rung_for(chromium: Chromium, server: Gateway, ada: User) -> None:
    here = Person(user=ada, organization=Organization.objects.get())
    _, key = here.key("laptop", [CALLBACK])
    with chromium.page() as page, machine_of(server.url, key) as laptop:
        sign_in(page, server.url)
        page.open(f"{server.url}/admin/live/")
        page.do("evaluate", RINGS)
        laptop.hello(name="rung-by-ada")
        # Opening the socket counts as the first ring.
        eventually(lambda: page.do("evaluate", "window.rings") >= 1)
        eventually(lambda: "rung-by-ada" in page.text())


def sign_in(page: Page, url: str) -> None:
    page.open(f"{url}/sign-in/")
    page.sign_in("ada", PASSWORD)
    assert page.url == f"{url}/portal/"


def test_it_hears_of_a_wrong_password(chromium: Chromium, server: Gateway, ada: User) -> None:
    with chromium.page() as page:
        page.open(f"{server.url}/sign-in/")
        page.sign_in("ada", "wrong")
        assert "correct" in page.text("[role=alert]")
        assert page.findings("sign-in-refused") == []
