"""One's keys: list them, make one, rotate and revoke."""

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from accounts.keeping import KEYS_LISTED
from accounts.keys import ClosedKeyError
from accounts.models import ApiKey
from accounts.rest import TooOftenError
from mcp.visible import in_one_line
from opscenter.portal import making
from opscenter.portal.key_forms import NewKey, Rotation
from opscenter.portal.making import Made, NotMadeError
from opscenter.portal.pages import page, shown
from opscenter.portal.visitors import Visitor

LIST = "portal-keys"
CHANGED = (
    "This key was rotated since you opened that page, so nothing was done. If it was by sending the"
    " form twice, the new secret was shown the first time."
)


@page()
def listed(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The keys of the organization that are the visitor's to keep, the newest first."""
    rows = list(_keys(visitor).order_by("-created_at", "-id")[: KEYS_LISTED + 1])
    now = timezone.now()
    open_: list[tuple[ApiKey, str]] = []
    closed: list[tuple[ApiKey, str]] = []
    for row in rows[:KEYS_LISTED]:
        status = row.status(now=now)
        (open_ if status == "active" else closed).append((row, status))
    return shown(
        request, "keys", visitor, open=open_, closed=closed, has_more=len(rows) > KEYS_LISTED
    )


@page("GET", "HEAD", "POST")
def new(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The form for a key; sent, the key itself, this once."""
    form = NewKey(request.POST) if request.method == "POST" else NewKey()
    status = 200
    if form.is_valid():
        try:
            made = making.make(visitor, form.wanted(), request.POST.get("ticket", ""))
            return once(request, visitor, made)
        except NotMadeError as error:
            if error.key_id:
                messages.warning(request, str(error))
                return redirect(LIST)
            form.add_error(error.field or None, str(error))
            status = error.status
    answer = shown(request, "key_new", visitor, form=form, ticket=making.ticket(visitor))
    answer.status_code = status
    return answer


@page("GET", "HEAD", "POST")
def rotated(request: HttpRequest, visitor: Visitor, key_id: str) -> HttpResponse:
    """When the former secret is to end; sent, the new one, this once."""
    key = get_object_or_404(_keys(visitor), id=key_id)
    form = Rotation(request.POST) if request.method == "POST" else Rotation()
    status = 200
    if form.is_valid():
        if request.POST.get("since") != _rotated_at(key):  # sent twice, or somebody was faster
            messages.warning(request, CHANGED)
            return redirect(LIST)
        try:
            plaintext = visitor.keeper.rotate(key, int(form.cleaned_data["grace"]))
            return once(request, visitor, Made(key=key, plaintext=plaintext), is_rotated=True)
        except ClosedKeyError as error:
            form.add_error(None, str(error))
        except TooOftenError as error:
            form.add_error(None, str(error.detail))
            status = error.status_code
    answer = shown(request, "key_rotate", visitor, key=key, form=form, since=_rotated_at(key))
    answer.status_code = status
    return answer


@page("GET", "HEAD", "POST")
def revoked(request: HttpRequest, visitor: Visitor, key_id: str) -> HttpResponse:
    """The question whether, and its answer."""
    key = get_object_or_404(_keys(visitor), id=key_id)
    if request.method != "POST":
        return shown(request, "key_revoke", visitor, key=key)
    visitor.keeper.revoke(key)
    messages.success(request, f"{in_one_line(key.name)} is revoked and opens nothing any more.")
    return redirect(LIST)


def once(
    request: HttpRequest, visitor: Visitor, made: Made, *, is_rotated: bool = False
) -> HttpResponse:
    """The page that shows a secret. It is the answer to the form: no address leads to it."""
    return shown(request, "key_shown", visitor, made=made, is_rotated=is_rotated)


def _keys(visitor: Visitor) -> QuerySet[ApiKey]:
    mine = visitor.keeper.visible().filter(organization=visitor.organization)
    return mine.select_related("user", "organization")


def _rotated_at(key: ApiKey) -> str:
    return key.rotated_at.isoformat() if key.rotated_at else ""
