"""What no database takes is refused in one place, for all pages of the admin."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)

PAGES = "/admin/"  # elsewhere each form has words of its own


class Nonsense:
    """PostgreSQL stores no NUL and takes none in a query; a number or a year may be too large."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(PAGES) and _has_nul(request):
            return _refused("The address has a NUL character (%00). Take it out.")
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """SQLite and Python's dates find out only when they are asked."""
        if not (isinstance(error, OverflowError) and request.path.startswith(PAGES)):
            return None
        log.info("%s %s: %s", request.method, ascii(request.path[:200]), error)
        return _refused("A number or a date in the address or in the form is out of range.")


def _has_nul(request: HttpRequest) -> bool:
    asked = [text for name, values in request.GET.lists() for text in (name, *values)]
    return any("\0" in text for text in (request.path, *asked))


def _refused(text: str) -> HttpResponse:
    return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
