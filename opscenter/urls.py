"""The pages outside /v1: the admin, REST, and the two questions Claude Code asks at start."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from mozilla_django_oidc.views import OIDCLogoutView

from accounts.signin import PersonalSignIn, sign_in
from billing.admin.usage import usage
from mcp.views import inbox
from opscenter import broken, connector_archive, first_run, openapi
from opscenter.live import live
from opscenter.well_known import protected_resource

# The page holds its own style and asks for nothing else, wherever it may be served from.
HOME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`HEAD /` is a client's way to ask whether anybody is there; a person sees what to do next."""
    if request.method == "HEAD":
        return HttpResponse()
    page = {"url": settings.EXTERNAL_API_URL, "model": first_run.DEFAULT_MODEL}
    policy = {"Content-Security-Policy": HOME_POLICY}
    return TemplateResponse(request, "home.html", page, headers=policy)


@require_safe
def hello(request: HttpRequest) -> HttpResponse:
    """Claude Code's warm-up."""
    return HttpResponse()


@csrf_exempt  # or whoever posts hears of a token instead
def nowhere(request: HttpRequest) -> HttpResponse:
    """Any other path below /api: programs ask there, and read JSON."""
    return JsonResponse(
        {"detail": "There is no such path. See /api/docs for those that are."}, status=404
    )


# From Keycloak too, where the session began there.
sign_out = OIDCLogoutView.as_view()

handler500 = broken.answer

urlpatterns = [
    path("", home),
    path(connector_archive.PATH, connector_archive.archive),
    path("api/hello", hello),
    path(".well-known/oauth-protected-resource", protected_resource),
    path("api/v1/", include("accounts.urls")),
    path("api/v1/", include("billing.urls")),
    path("api/v1/", include("billing.lago_urls")),
    path("api/v1/", include("proxy.rest_urls")),
    path("api/mcp/", include("mcp.urls")),
    re_path(r"^api/schema/?$", openapi.Schema.as_view(), name="schema"),
    re_path(r"^api/docs/?$", openapi.Docs.as_view(), name="docs"),
    re_path(r"^api(?:/|$)", nowhere),  # after all others below it
    path("portal/", include("opscenter.portal.urls")),
    path("approvals/", inbox.inbox, name=inbox.PAGE),
    path("approvals/<uuid:approval_id>/", inbox.decided, name="mcp-inbox-decided"),
    path("sign-in/", PersonalSignIn.as_view(), name="sign-in"),
    path("sign-out/", sign_out, name="sign-out"),
    path("oidc/", include("accounts.oidc_urls" if settings.OIDC_ISSUER else [])),
    path("admin/login/", sign_in),  # in front of the admin's own, which it asks in the end
    path("admin/logout/", sign_out),
    path("admin/live/", admin.site.admin_view(live), name="live"),
    path("admin/billing/usage/", admin.site.admin_view(usage), name="billing_usage"),
    path("admin/", admin.site.urls),
]
