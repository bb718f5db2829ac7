"""Where Lago's webhooks arrive."""

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing import lago_signature, webhooks

MOST_BYTES = 1024 * 1024  # a subscription with all that hangs on it has a few kilobytes
KEY_CHARS = 200


@csrf_exempt  # the signature says who speaks; there is no session
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Take a signed webhook. Lago sends anew what is not answered with 200."""
    body = request.body
    if len(body) > MOST_BYTES:
        return _refused(413, "The body is too long.")
    try:
        lago_signature.verify(request.headers, body)
    except lago_signature.BadSignatureError as error:
        return _refused(401, f"Refused: {error}.")
    except lago_signature.NoKeyError as error:
        return _refused(503, f"Try again later: {error}.")
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    key = request.headers.get("X-Lago-Unique-Key", "")
    if not isinstance(payload, dict):
        return _refused(400, "The body is no JSON object.")
    if not (0 < len(key) <= KEY_CHARS and key.isprintable()):
        return _refused(400, "X-Lago-Unique-Key is missing or too long.")
    return JsonResponse({"outcome": webhooks.take(key, payload)})


def _refused(status: int, text: str) -> HttpResponse:
    return JsonResponse({"error": text}, status=status)
