"""The page of what waits for a person: every call exactly as it would run, to approve or to refuse.

It works without a script. With one it looks for news by itself, and never moves what somebody may
be about to press.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.rest import address_of
from accounts.signin import PAGE_POLICY
from mcp.calls import Decider, UndecidedError
from mcp.models import Approval
from mcp.states import Answer, Source
from mcp.views import deciding
from mcp.visible import Part, in_one_line, parts

SIGN_IN = "/sign-in/"
PAGE = "mcp-inbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument, all of it."""

    name: list[Part]
    value: list[Part]
    is_text: bool  # else it is shown as JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A question as it is shown."""

    row: Approval
    machine: str
    reason: str
    arguments: list[Argument]
    is_of_another: bool
    left_s: int


@require_safe
@never_cache
@login_required(login_url=SIGN_IN)
def inbox(request: HttpRequest) -> HttpResponse:
    """What waits for whoever is signed in. With `part`, the list alone, for the script."""
    rows, has_more = deciding.pending(_decider(request))
    now = timezone.now()
    page = {
        "cards": [_card(row, request.user.pk, now) for row in rows],
        "has_more": has_more,
    }
    is_part = "part" in request.GET
    template = "mcp/approvals_part.html" if is_part else "mcp/approvals.html"
    policy = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "same-origin"}
    return TemplateResponse(request, template, page, headers=policy)


@require_POST
@never_cache
@login_required(login_url=SIGN_IN)
def decided(request: HttpRequest, approval_id: UUID) -> HttpResponse:
    """What was pressed: `approve` or `refuse`, about the call with this digest."""
    said = request.POST.get("answer")
    if said not in {"approve", "refuse"}:
        messages.error(request, "Say either approve or refuse.")
        return redirect(PAGE)
    try:
        found = deciding.decide(
            _decider(request),
            approval_id,
            digest=request.POST.get("digest", ""),
            approve=said == "approve",
        )
    except UndecidedError as error:
        if error.code == "unknown":
            raise Http404(str(error)) from error
        messages.error(request, str(error))
        return redirect(PAGE)
    is_approved = found.answer is Answer.APPROVED
    text = "Approved. It runs now, once." if is_approved else "Refused. It did not run."
    messages.success(request, text)
    return redirect(PAGE)


def _decider(request: HttpRequest) -> Decider:
    user: Any = request.user
    return deciding.decider_of(user, None, Source.WEB, address_of(request))


def _card(row: Approval, user_id: int | None, now: Any) -> Card:
    return Card(
        row=row,
        machine=in_one_line(row.connector.name),
        reason=in_one_line(row.reason),
        arguments=list(_arguments(row.call.params)),
        is_of_another=row.user_id != user_id,
        left_s=max(int((row.expires_at - now).total_seconds()), 0),
    )


def _arguments(params: str) -> Iterator[Argument]:
    for name, value in (json.loads(params).get("arguments") or {}).items():
        is_text = isinstance(value, str)
        shown = list(parts(value)) if is_text else _as_json(value)
        yield Argument(name=list(parts(name)), value=shown, is_text=is_text)


def _as_json(value: Any) -> list[Part]:
    """Indented. The ends of its lines are ours, so they have no marks."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    return [part for line in lines for part in (*parts(line), Part("\n"))][:-1]
