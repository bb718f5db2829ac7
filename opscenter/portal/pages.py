"""What all pages of the portal share: who may come in, and how a page is sent."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.signin import PAGE_POLICY
from opscenter.portal.visitors import Visitor, visitor_of

SIGN_IN = "/sign-in/"

View = Callable[..., HttpResponse]


def page(*methods: str) -> Callable[[View], View]:
    """A view that is called with the visitor, by these methods; without any, by GET and HEAD.

    No answer is kept by anybody: some hold a secret that is shown once.
    """

    def decorated(view: View) -> View:
        @require_http_methods(list(methods or ("GET", "HEAD")))
        @never_cache
        @login_required(login_url=SIGN_IN)
        @wraps(view)
        def answered(request: HttpRequest, **path: Any) -> HttpResponse:
            visitor = visitor_of(request)
            response = view(request, visitor, **path) if visitor else _nowhere(request)
            response.headers["Content-Security-Policy"] = PAGE_POLICY
            response.headers["Referrer-Policy"] = "same-origin"
            return response

        return answered

    return decorated


def shown(
    request: HttpRequest, template: str, visitor: Visitor, **context: Any
) -> TemplateResponse:
    """The page of this name."""
    context |= {"visitor": visitor, "now": timezone.now(), "url": settings.EXTERNAL_API_URL}
    context |= {"by_keycloak": bool(settings.OIDC_ISSUER)}
    return TemplateResponse(request, f"portal/{template}.html", context)


def _nowhere(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "portal/nowhere.html")
