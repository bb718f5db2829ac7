"""The pages outside /v1: the admin, REST, and the two questions Claude Code asks at start."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import include, path
from django.views.decorators.http import require_safe


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`HEAD /` is a client's way to ask whether anybody is there; a person is led to the admin."""
    return HttpResponse() if request.method == "HEAD" else redirect("admin:index")


@require_safe
def hello(request: HttpRequest) -> HttpResponse:
    """Claude Code's warm-up."""
    return HttpResponse()


urlpatterns = [
    path("", home),
    path("api/hello", hello),
    path("api/v1/", include("accounts.urls")),
    path("admin/", admin.site.urls),
]
