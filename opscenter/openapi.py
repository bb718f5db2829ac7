"""The OpenAPI description of the REST pages, and the page that shows it."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from mcp.states import State

# Swagger UI writes its own styles and holds pictures in them; it loads and calls nothing elsewhere.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'"
)

CALL_STATES = [(state.value, state.value) for state in State]  # other things have states too

Endpoints = list[tuple[str, str, str, Any]]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it has no types
    """How programs say who they are."""

    target_class = "accounts.rest.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A key that starts with `sk-uc-`. `x-api-key` is taken as well.",
        }


def without_slash(endpoints: Endpoints) -> Endpoints:
    """The paths as people write them: the slash at the end is taken, but nobody needs it."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


class Schema(SpectacularAPIView):
    """The description, in YAML; in JSON with `?format=json`."""

    authentication_classes = []  # it is no secret, and asks for no database


class Docs(SpectacularSwaggerSplitView):
    """The description as a page to read and try. It asks no other host for anything."""

    authentication_classes = []
    url_name = "schema"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # it has no types
        response.headers["Content-Security-Policy"] = DOCS_POLICY
        return response
