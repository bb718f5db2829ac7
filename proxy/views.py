"""The Messages API as DRF views."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from accounts.principal import Principal
from billing import terms
from proxy import answering, catalog, health, table
from proxy.answer import Answer
from proxy.edge import Edge, json_response
from proxy.errors import RefusedError
from proxy.giving import Stream
from proxy.wire.body import MessagesRequest


class EventStreamResponse(StreamingHttpResponse):
    """Server-sent events, each block handed to the server as it is."""

    def __init__(self, stream: Stream) -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no", **stream.answer.headers}
        super().__init__(stream, content_type=stream.answer.content_type, headers=headers)
        self.stream = stream

    def __aiter__(self) -> Stream:  # Django would wrap it in two generators
        return self.stream


class RelayedEdge(Edge):
    """What is answered by an upstream, as long as the operator lets it be."""

    async def enter(self, request: HttpRequest) -> None:
        """Also raises RefusedError while the gateway is switched off."""
        await super().enter(request)
        if not settings.ANTHROPIC_PROXY_ENABLED:
            text = "This gateway is switched off by its operator (ANTHROPIC_PROXY_ENABLED=false)."
            raise RefusedError(503, "api_error", text, x_should_retry="false")


class MessagesView(RelayedEdge):
    """POST /v1/messages."""

    force_stream = False

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """Relay the request; `stream` in the body decides how the answer comes."""
        messages = MessagesRequest.parse(request.body)
        if self.force_stream:
            messages = messages.streaming()
        answered = await answering.answered(
            self.request_id,
            messages,
            self.caller,
            query=request.META["QUERY_STRING"],
            headers=self.raw_headers,
            said=self.said,
        )
        return _whole(answered) if isinstance(answered, Answer) else EventStreamResponse(answered)


class MessagesStreamView(MessagesView):
    """POST /v1/messages/stream: the same with streaming forced."""

    force_stream = True


class CountTokensView(RelayedEdge):
    """POST /v1/messages/count_tokens. It is not a request of the ledger's."""

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """Ask the upstream that would answer, or estimate."""
        counted = await answering.counted(
            MessagesRequest.parse(request.body, counting=True),
            self.caller,
            query=request.META["QUERY_STRING"],
            headers=self.raw_headers,
        )
        return _whole(counted)


class ModelsView(Edge):
    """GET /v1/models."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        """One page of what is served here, newest first as far as that is known."""
        asked = catalog.Page(
            limit=_limit(request.GET.get("limit", "20")),
            after_id=request.GET.get("after_id", ""),
            before_id=request.GET.get("before_id", ""),
        )
        models = await _models(self.caller)
        wanted = request.GET.getlist("lifecycle[]") or catalog.LISTED
        return json_response(catalog.page([m for m in models if m["lifecycle"] in wanted], asked))


class ModelView(Edge):
    """GET /v1/models/{id}."""

    async def get(self, request: HttpRequest, model_id: str) -> HttpResponse:
        """One model, or 404 in the API's words."""
        for model in await _models(self.caller):
            if model["id"] == model_id:
                return json_response(model)
        raise RefusedError(404, "not_found_error", f"model: {model_id}")


class HealthView(Edge):
    """GET /v1/health: open, but a credential that is shown is checked."""

    open_to_all = True

    async def get(self, request: HttpRequest) -> HttpResponse:
        """The state of what a request needs; with a good credential, whose it is."""
        state = await health.state()
        if any(name in {b"authorization", b"x-api-key"} for name, _ in self.raw_headers):
            caller = self.identified(request)
            state["credential"] = {
                "valid": True,
                "organization_id": str(caller.organization_id),
                "key_id": caller.key_id,
                "plan": (await terms.of(caller.organization_id)).plan,
                "scopes": sorted(caller.scopes),
            }
        return json_response(state)


class UnknownView(Edge):
    """Everything else under /v1."""

    open_to_all = True

    async def enter(self, request: HttpRequest) -> None:
        """Nothing lives here, whoever asks."""
        raise RefusedError(
            404, "not_found_error", "Not found. See GET /v1/models for what is served."
        )


def _whole(answered: Answer) -> HttpResponse:
    return HttpResponse(
        answered.body,
        status=answered.status,
        content_type=answered.content_type,
        headers=dict(answered.headers),
    )


async def _models(caller: Principal) -> list[dict[str, Any]]:
    return catalog.listed(await table.current(), caller.organization_id)


def _limit(raw: str) -> int:
    if raw.isascii() and raw.isdecimal() and len(raw) <= 10 and 1 <= int(raw) <= 1000:
        return int(raw)
    raise RefusedError(400, "invalid_request_error", "limit: a whole number from 1 to 1000")
