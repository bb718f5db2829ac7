"""What programs ask before they sign somebody in (RFC 9728)."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from accounts.principal import OF_PROGRAMS


@require_safe
def protected_resource(request: HttpRequest) -> JsonResponse:
    """Whose tokens open this gateway; 404 where nobody's do."""
    if not settings.OIDC_ISSUER:
        text = "This gateway takes API keys alone: it is not connected with Keycloak."
        return JsonResponse({"detail": text}, status=404)
    return JsonResponse(
        {
            "resource": settings.EXTERNAL_API_URL,
            "authorization_servers": [settings.OIDC_ISSUER],
            "bearer_methods_supported": ["header"],
            "scopes_supported": list(OF_PROGRAMS),
            # Ours: for which client of that server a machine asks for its code.
            "opscenter_client_id": settings.OIDC_DEVICE_CLIENT,
        }
    )
