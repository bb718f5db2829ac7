"""Sessions at Keycloak and here: begun together, and ended together."""

from datetime import timedelta
from importlib import import_module
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts import audit, jwt
from accounts.claims import Claims
from accounts.models import Identity, OidcSession

KEPT = timedelta(days=30)  # a month after it began no token of a session is good


def began(identity: Identity, told: Claims, session_key: str) -> bool:
    """Keep which of our sessions belongs to which of Keycloak's. False where that one is over."""
    with transaction.atomic():
        # Whoever ends it waits for this row, or has ended it before.
        known = Identity.objects.select_for_update().get(pk=identity.pk)
        if known.ended_at is not None and told.issued_at <= known.ended_at.timestamp():
            return False
        if not told.session:
            return True
        own = OidcSession.objects.filter(identity=identity)
        own.filter(created_at__lt=timezone.now() - KEPT).delete()
        if own.filter(sid=told.session, ended_at__isnull=False).exists():
            return False
        OidcSession.objects.get_or_create(
            identity=identity, sid=told.session, session_key=session_key
        )
    return True


@csrf_exempt  # it comes from Keycloak, and its token is the proof
@require_POST
def logged_out(request: HttpRequest) -> HttpResponse:
    """A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.5 to 2.8)."""
    headers = {"Cache-Control": "no-store"}
    token = request.POST.get("logout_token", "")
    try:
        payload = async_to_sync(jwt.logout)(token)
    except jwt.TokenError as error:
        said = {"error": "invalid_request", "error_description": str(error)}
        return JsonResponse(said, status=400, headers=headers)
    except jwt.KeysAwayError as error:
        said = {"error": "temporarily_unavailable", "error_description": str(error)}
        return JsonResponse(said, status=503, headers=headers)
    end(payload["iss"], payload.get("sub", ""), payload.get("sid", ""))
    return HttpResponse(status=200, headers=headers)


def end(issuer: str, subject: str, sid: str) -> None:
    """End what a person has here of one session at Keycloak, or of all where `sid` is empty.

    Tokens of theirs open nothing from then on, and their machines' connections end.
    """
    who = {"subject": subject} if subject else {"sessions__sid": sid}
    for identity in Identity.objects.filter(issuer=issuer, **who).distinct():
        with transaction.atomic():
            _end(identity, sid)


def _end(identity: Identity, sid: str) -> None:
    Identity.objects.select_for_update().get(pk=identity.pk)
    now = timezone.now()
    sessions = OidcSession.objects.filter(identity=identity, ended_at__isnull=True)
    if sid:
        sessions = sessions.filter(sid=sid)
        # Also one that only a token of a machine has named, and no browser.
        OidcSession.objects.get_or_create(
            identity=identity, sid=sid, session_key="", defaults={"ended_at": now}
        )
    else:
        Identity.objects.filter(pk=identity.pk).update(ended_at=now)
    for key in sessions.values_list("session_key", flat=True):
        if key:
            _store(key).delete()
    sessions.update(ended_at=now)
    audit.record("session.ended", f"user:{identity.user_id}", audit.SYSTEM, None, {"sid": sid})


def _store(session_key: str) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(session_key)
