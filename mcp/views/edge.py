"""What the views that carry calls do first and last: credential, scope, errors, request id.

They run on the event loop, without a thread: on the lean handler, which knows the caller before it
reads the body, and on Django's own as well.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from adrf.views import APIView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from accounts import auth
from accounts.principal import CALLBACK, Principal
from accounts.rest import ApiKeyAuthentication, address_of
from billing import ledger
from mcp.views.refusals import refusal


class TunnelEdge(APIView):  # type: ignore[misc]  # adrf ships no types
    """For API keys with `mcp-callback` alone: no session, no cookie, no middleware is needed."""

    authentication_classes = [ApiKeyAuthentication]  # described so; `enter` does it
    permission_classes: list[type] = []
    view_is_async = True

    caller: Principal

    async def async_dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Run the method's handler. Every way out is JSON and carries the request id."""
        request_id = ledger.new_id()
        response: HttpResponseBase
        try:
            self.request = self.initialize_request(request, *args, **kwargs)
            self.caller = await _caller_of(request)
            auth.require(self.caller, CALLBACK)
            response = await self._handler(request)(request, *args, **kwargs)
        except Exception as error:  # the last edge: whatever it is, the client gets JSON
            response = refusal(error, request_id)
        response.headers["request-id"] = f"req_{request_id.hex}"
        return response

    def _handler(self, request: HttpRequest) -> Callable[..., Awaitable[HttpResponse]]:
        """The view's own method. Raises DRF's MethodNotAllowed, for OPTIONS too."""
        method = (request.method or "").lower()
        if method == "options" or not hasattr(self, method):
            self.http_method_not_allowed(request)
        handler: Callable[..., Awaitable[HttpResponse]] = getattr(self, method)
        return handler


async def _caller_of(request: HttpRequest) -> Principal:
    """Whom the handler found before it read the body; where it does not look, who the headers say.

    Raises auth.CredentialError and accounts.reads.DatabaseAwayError.
    """
    found = getattr(request, "scope", {}).get("caller")
    if isinstance(found, Exception):
        raise found
    if isinstance(found, Principal):
        return found
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    x_api_key = request.META.get("HTTP_X_API_KEY", "")
    return await auth.identify(authorization, x_api_key, address_of(request))
