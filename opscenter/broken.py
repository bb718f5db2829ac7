"""What people and programs see where a page has failed: words, a way on, and no traceback."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

AWAY = "The database does not answer just now. Try again in a moment."
DEFECT = "The gateway has a defect here. Its log says more; tell an operator what you did."
RETRY_S = 5
FOR_PROGRAMS = ("/api/", "/oidc/backchannel-logout/")


def answer(request: HttpRequest) -> HttpResponse:
    """Django calls it while it handles the exception; it asks no database for anything."""
    is_away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    text, status = (AWAY, 503) if is_away else (DEFECT, 500)
    if request.path.startswith(FOR_PROGRAMS):
        response: HttpResponse = JsonResponse({"detail": text}, status=status)
    else:
        response = HttpResponse(render_to_string("500.html", {"text": text}), status=status)
    if is_away:
        response.headers["Retry-After"] = str(RETRY_S)
    return response
