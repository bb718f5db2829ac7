"""How Claude Code is pointed at this gateway: lines to paste, and whether they have worked."""

import json
import re
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts.keeping import Wanted
from accounts.models import ApiKey
from accounts.principal import CALLBACK, MESSAGES
from billing.models import UsageRecord
from opscenter import first_run
from opscenter.portal import making
from opscenter.portal.making import Made, NotMadeError
from opscenter.portal.pages import page, shown
from opscenter.portal.visitors import Visitor
from proxy import catalog, table
from proxy.models import Upstream

PAGE = "portal-claude"
NAME, DAYS = "Claude Code", 365
KEYS_READ = 200
KEY_ID = re.compile(r"[0-9a-z]{1,16}")  # some other texts are an error to the database
MODELS_OFFERED = 200
RECENT = timedelta(hours=1)  # how far back the ledger is searched for what became of a request
KEY_FILE = "~/.config/opscenter/claude-code.key"
HELPER_TTL_MS = "30000"  # half of how long a token is good for at least when it is printed
HELPER = "~/.config/opscenter/claude-code-key.sh"


@page("GET", "HEAD", "POST")
def connect(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The lines, with a key that is chosen or, after a POST, made in place and shown this once."""
    if request.method != "POST":
        return _page(request, visitor, request.GET.get("key", ""), request.GET.get("model", ""))
    scopes = [MESSAGES, *([CALLBACK] if "machines" in request.POST else [])]
    wanted = Wanted(name=making.dated(NAME), scopes=scopes, days=DAYS)
    try:
        made = making.make(visitor, wanted, request.POST.get("ticket", ""))
    except NotMadeError as error:
        if error.key_id:
            messages.warning(request, str(error))
            return redirect(f"{reverse(PAGE)}?key={error.key_id}")
        answer = _page(request, visitor, "", request.POST.get("model", ""), refusal=str(error))
        answer.status_code = error.status
        return answer
    return _page(request, visitor, made.key.id, request.POST.get("model", ""), made=made)


@page()
def seen(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Whether the key has come yet, and with what success. With `part` for the script alone."""
    wanted = request.GET.get("key", "")
    found = _keys(visitor, id=wanted) if KEY_ID.fullmatch(wanted) else []
    key = next(iter(found), None)
    template = "claude_seen_part" if "part" in request.GET else "claude_seen"
    last = _last(key) if key else None
    return shown(request, template, visitor, key=key, last=last, is_demo=_is_demo(last))


def _page(
    request: HttpRequest,
    visitor: Visitor,
    key_id: str,
    model: str,
    made: Made | None = None,
    refusal: str = "",
) -> HttpResponse:
    keys = _keys(visitor)
    key = next((key for key in keys if key.id == key_id), None)
    models = _models(visitor)
    chosen = model if model in models else _first(models)
    last = _last(key) if key else None
    secret = made.plaintext if made else key.prefix if key else "sk-uc-your-key"
    return shown(
        request,
        "claude",
        visitor,
        keys=keys,
        key=key,
        made=made,
        last=last,
        is_demo=_is_demo(last),
        ticket=making.ticket(visitor),
        models=models,
        model=chosen,
        refusal=refusal,
        **_lines(secret, chosen),
    )


def _keys(visitor: Visitor, **which: str) -> list[ApiKey]:
    """The visitor's own keys that Claude Code can use, the newest first."""
    good = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    mine = ApiKey.objects.filter(
        good, user=visitor.user, organization=visitor.organization, revoked_at__isnull=True
    )
    rows = mine.filter(**which).order_by("-created_at", "-id")[:KEYS_READ]
    return [key for key in rows if MESSAGES in key.scopes]  # not every database looks into a list


def _models(visitor: Visitor) -> Sequence[str]:
    """What GET /v1/models would list."""
    listed = catalog.listed(async_to_sync(table.current)(), visitor.organization.pk)
    return [entry["id"] for entry in listed][:MODELS_OFFERED]


def _first(models: Sequence[str]) -> str:
    default = first_run.DEFAULT_MODEL
    return default if default in models or not models else models[0]


def _last(key: ApiKey) -> UsageRecord | None:
    """The key's newest request of late. Of the organization's newest rows, which an index finds."""
    if key.last_used_at is None or key.last_used_at < timezone.now() - RECENT:
        return None
    rows = UsageRecord.objects.filter(
        organization=key.organization_id, admitted_at__gt=timezone.now() - RECENT, api_key=key.pk
    )
    return (
        rows.only("state", "status", "requested_model", "error_type", "upstream")
        .order_by("-admitted_at")
        .first()
    )


def _is_demo(last: UsageRecord | None) -> bool:
    """Whether no model has answered, but what stands in for one."""
    of_kind = Upstream.objects.filter(kind=Upstream.Kind.DEMO)
    return last is not None and of_kind.filter(name=last.upstream).exists()


def _lines(secret: str, model: str) -> dict[str, Any]:
    """What is pasted. The secret has no character that a shell or JSON would take for its own."""
    url = settings.EXTERNAL_API_URL
    env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": secret, "ANTHROPIC_MODEL": model}
    without = {name: value for name, value in env.items() if name != "ANTHROPIC_AUTH_TOKEN"}
    return {
        "shell": "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items()),
        "settings": json.dumps({"env": env}, indent=2, ensure_ascii=False),
        "helper": "\n".join(
            [
                "mkdir -p ~/.config/opscenter",
                f"(umask 077; printf '%s\\n' '{secret}' > {KEY_FILE}); chmod 600 {KEY_FILE}",
                f"printf '#!/bin/sh\\nexec cat {KEY_FILE}\\n' > {HELPER}",
                f"chmod 700 {HELPER}",
            ]
        ),
        "sign_in": f"ops-connector login --api-url {shlex.quote(url)}",
        "sign_in_settings": json.dumps(
            {
                "apiKeyHelper": f"ops-connector token --api-url {shlex.quote(url)}",
                "env": without | {"CLAUDE_CODE_API_KEY_HELPER_TTL_MS": HELPER_TTL_MS},
            },
            indent=2,
            ensure_ascii=False,
        ),
        "helper_settings": json.dumps(
            {"apiKeyHelper": HELPER, "env": without}, indent=2, ensure_ascii=False
        ),
    }
