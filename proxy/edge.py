"""What every view under /v1 does first and last: credential, content type, errors, request id."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from adrf.views import APIView
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from accounts import asked, auth, redaction
from accounts.addresses import client_of
from accounts.principal import MESSAGES, Principal
from billing import ledger
from proxy import errors
from proxy.answer import UpstreamError
from proxy.errors import RefusedError

log = logging.getLogger(__name__)

JSON = "application/json"
RawHeaders = list[tuple[bytes, bytes]]


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """A JSON response."""
    return HttpResponse(
        msgspec.json.encode(value), status=status, content_type=JSON, headers=headers
    )


async def caller_of(scope: Mapping[str, Any]) -> Principal:
    """The caller by whichever of the two headers is good. Raises auth.CredentialError."""
    authorization = x_api_key = ""
    forwarded: list[str] = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"x-api-key":
            x_api_key = value.decode("latin-1")
        elif name == b"x-forwarded-for":
            forwarded.append(value.decode("latin-1"))
    peer, _ = scope.get("client") or ("", 0)  # behind a Unix socket there is none
    address = client_of(peer, forwarded, settings.TRUSTED_PROXIES)
    return await auth.identify(authorization, x_api_key, address)


def refusal(error: Exception, request_id: ledger.RecordId) -> HttpResponse:
    """`error` in the API's shape."""
    meaning = errors.meaning_of(error)
    shown_id = f"req_{request_id.hex}"
    if isinstance(error, UpstreamError):
        log.warning("%s: %s (%r)", shown_id, error, error.__cause__)
    elif meaning.status == 500:
        log.error("%s failed", shown_id, exc_info=error)
    headers = {"request-id": shown_id, **meaning.headers}
    text = redaction.without_known(errors.text_of(error))  # an upstream may have said it to us
    envelope = errors.envelope(meaning.kind, text, shown_id)
    return json_response(envelope, meaning.status, headers)


class Edge(APIView):  # type: ignore[misc]  # adrf ships no types
    """A DRF view whose way in makes no thread hop, unlike adrf's own `initial()`.

    `Accept` decides nothing here: the SDKs send application/json for streams too.
    """

    authentication_classes: list[type] = []  # `enter` does it, without a thread and without a User
    permission_classes: list[type] = []
    open_to_all = False
    scope = MESSAGES
    view_is_async = True  # also where a view has no method of its own

    request_id: ledger.RecordId
    raw_headers: RawHeaders
    said: dict[str, str]  # headers that the answer has, whatever becomes of the request
    caller: Principal  # set by `enter`, unless the view is open to all

    async def async_dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Run the method's handler. Every way out carries the request id and our error shape."""
        self.request_id = ledger.new_id()
        self.said = {}
        response: HttpResponseBase
        try:
            self.request = self.initialize_request(request, *args, **kwargs)
            self.raw_headers = request.scope["headers"]  # type: ignore[attr-defined]  # always an ASGIRequest
            for_log = asked.Asked(request_id=f"req_{self.request_id.hex}", headers=self.raw_headers)
            asked.current.set(for_log)
            await self.enter(request)
            if not self.open_to_all:
                for_log.key_id = self.caller.key_id
            handle = self._handler(request)
            response = await handle(request, *args, **kwargs)
        except Exception as error:  # the last edge: whatever it is, the client gets JSON
            response = refusal(error, self.request_id)
        response.headers["request-id"] = f"req_{self.request_id.hex}"
        for name, value in self.said.items():
            response.headers[name] = value
        return response

    def _handler(self, request: HttpRequest) -> Callable[..., Awaitable[HttpResponseBase]]:
        """The view's own method. Raises DRF's MethodNotAllowed, for OPTIONS too."""
        method = (request.method or "").lower()
        if method == "options" or not hasattr(self, method):
            self.http_method_not_allowed(request)
        handler: Callable[..., Awaitable[HttpResponseBase]] = getattr(self, method)
        return handler

    async def enter(self, request: HttpRequest) -> None:
        """Who is calling, and may they? Raises auth.CredentialError or auth.ScopeError."""
        if self.open_to_all:
            return
        self.caller = self.identified(request)
        auth.require(self.caller, self.scope)
        if request.method == "POST":
            _check_content_type(request.META.get("CONTENT_TYPE", ""))

    @staticmethod
    def identified(request: HttpRequest) -> Principal:
        """Whom the handler found before it read the body. Raises what it met looking for them."""
        caller: Principal | Exception = request.scope["caller"]  # type: ignore[attr-defined]  # always an ASGIRequest
        if isinstance(caller, Exception):
            raise caller
        return caller


def _check_content_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in {"", JSON}:
        raise RefusedError(
            415, "invalid_request_error", f"content-type: send {JSON}, not {media_type[:100]}."
        )
