"""A browser in the portal, for the tests of its pages."""

import html
import re
from typing import Any

from django.test import Client

from accounts.tests.people import Person

HOSTILE = "<script>alert(1)</script>\u202e'\""
PAGES = [
    "/portal/",
    "/portal/keys/",
    "/portal/keys/new/",
    "/portal/claude-code/",
    "/portal/claude-code/seen/",
    "/portal/machine/",
    "/portal/machine/there/",
    "/portal/usage/",
    "/portal/limits/",
]


def browser(person: Person) -> Client:
    """Signed in, and as strict about forms as a real one."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(person.user)
    return client


def text(answer: Any) -> str:
    """The page as it was sent."""
    found: str = answer.content.decode()
    return found


def form_of(client: Client, path: str) -> dict[str, str]:
    """What the hidden fields of the page's forms hold."""
    shown = text(client.get(path))
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown)
    return {name: html.unescape(value) for name, value in found}


def send(client: Client, path: str, form: dict[str, Any] | None = None, **fields: Any) -> Any:
    """The form of this page sent, with these fields; or the `form` that was read before."""
    return client.post(path, (form or form_of(client, path)) | fields)


def secrets_in(answer: Any) -> set[str]:
    """The plaintexts on a page."""
    return set(re.findall(r"sk-uc-[0-9a-z]{12}-[0-9A-Za-z]{43}", text(answer)))


def said(answer: Any) -> list[str]:
    """What the page says about what was done, or was wrong."""
    return [
        html.unescape(each)
        for each in re.findall(r'<p class="(?:said|wrong)[^>]*>([^<]+)</p>', text(answer))
    ]
