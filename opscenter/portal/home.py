"""The portal's first page: what to do next, what was used today, what waits."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timesince import timesince

from accounts.models import ApiKey
from accounts.principal import MESSAGES
from accounts.rest import address_of
from mcp.models import Connector
from mcp.shown import is_online
from mcp.states import Source
from mcp.views import deciding
from mcp.visible import in_one_line
from opscenter.portal.pages import page, shown
from opscenter.portal.usage import today
from opscenter.portal.visitors import Visitor, choose

HOME = "portal-home"
KEYS_READ = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One of the three things that a new user does."""

    title: str
    text: str
    button: str
    url: str
    is_done: bool


@page()
def home(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """A checklist, and the day in numbers."""
    now = timezone.now()
    steps = _steps(visitor)
    # The very list that the page of approvals shows, so that the two never differ.
    decider = deciding.decider_of(visitor.user, None, Source.WEB, address_of(request))
    waiting, has_more = deciding.pending(decider)
    return shown(
        request,
        "home",
        visitor,
        steps=steps,
        next_step=next((step for step in steps if not step.is_done), None),
        used=today(visitor, now),
        waiting=len(waiting),
        has_more=has_more,
    )


@page("POST")
def chosen(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Another organization, for as long as the session lasts; back to where they were."""
    try:
        is_theirs = choose(request, UUID(request.POST.get("organization", "")))
    except ValueError:
        is_theirs = False
    if not is_theirs:
        messages.error(request, "You are not a member of that organization.")
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, None) and wanted.startswith("/")
    return redirect(wanted if is_ours else reverse(HOME))


def _steps(visitor: Visitor) -> list[Step]:
    keys = _keys(visitor)
    machines = Connector.objects.filter(
        organization=visitor.organization, user=visitor.user, kind=Connector.Kind.TUNNEL
    )
    newest = machines.order_by("-last_seen_at").first()
    now = timezone.now()
    there = newest is not None and is_online(newest, now=now)
    return [
        Step(
            title="Get a key",
            text="It stands for you where a program asks for models.",
            button="Your keys" if keys else "Make a key",
            url=reverse("portal-keys" if keys else "portal-claude"),
            is_done=bool(keys),
        ),
        Step(
            title="Connect Claude Code",
            text="Paste three lines, and see the first request arrive.",
            button="Connect Claude Code",
            url=reverse("portal-claude"),
            is_done=any(key.last_used_at for key in keys),
        ),
        Step(
            title="Connect a machine",
            text=_of_machine(newest, there=there),
            button="Your machines" if newest else "Connect a machine",
            url=reverse("portal-machine"),
            is_done=there,
        ),
    ]


def _of_machine(newest: Connector | None, *, there: bool) -> str:
    if newest is None or there:
        return "Agents use its folders, its shell and its MCP servers, as far as you allow."
    seen = (
        f", last seen {timesince(newest.last_seen_at, depth=1)} ago" if newest.last_seen_at else ""
    )
    return f"{in_one_line(newest.name)} is offline{seen}. Start it there: ops-connector run"


def _keys(visitor: Visitor) -> list[ApiKey]:
    """The visitor's own keys that open models."""
    mine = ApiKey.objects.filter(
        user=visitor.user, organization=visitor.organization, revoked_at__isnull=True
    )
    now = timezone.now()
    rows = mine.order_by("-created_at")[:KEYS_READ]
    return [key for key in rows if MESSAGES in key.scopes and key.status(now=now) == "active"]
