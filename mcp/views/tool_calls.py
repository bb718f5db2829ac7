"""Calls that were made: the last ones, one of them, and the end of one."""

from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import async_to_sync
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.described import described
from accounts.principal import CALLBACK, Principal
from mcp import calls, tools
from mcp.models import ToolCall
from mcp.serializers import CallsAsked
from mcp.shown import Cancellation, EndedCall, ShownCall, ShownCalls
from mcp.states import Outcome
from mcp.views.pages import CHANGES, SEES, TAG, TunnelPage

NO_CALL = "There is no such call of yours; GET /api/mcp/calls lists them."


class CallPage(TunnelPage):
    """What the pages about calls share."""

    def seen(self, right: str = SEES) -> QuerySet[ToolCall]:
        """One's own, for arguments may hold anything; to operators all."""
        return ToolCall.objects.filter(self.own(right))

    def one(self, rows: QuerySet[ToolCall], call_id: UUID) -> ToolCall:
        """The call of this id, if it is one to be seen."""
        found = rows.filter(id=call_id).first()
        if found is None:
            raise NotFound(NO_CALL)
        return found


class Calls(CallPage):
    """List calls, the newest first, without what was said in them."""

    @described(
        "mcp_calls",
        tag=TAG,
        summary="List tool calls, the newest first",
        query=CallsAsked,
        gives=ShownCalls,
        refuses=(404,),
    )
    def get(self, request: Request) -> Response:
        wanted = CallsAsked(data=request.query_params.dict())
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        rows = self.seen().defer("params", "result")
        if asked["state"]:
            rows = rows.filter(state=asked["state"])
        if asked["before"]:
            last = self.one(self.seen().only("created_at"), asked["before"])
            older = Q(created_at__lt=last.created_at)
            rows = rows.filter(older | Q(created_at=last.created_at, id__lt=last.id))
        found = list(rows.order_by("-created_at", "-id")[: asked["limit"] + 1])
        listed = ShownCall(found[: asked["limit"]], many=True).data
        return Response(
            {"results": listed, "limit": asked["limit"], "has_more": len(found) > len(listed)}
        )


class Call(CallPage):
    """Show a call and how it ended."""

    @described(
        "mcp_call",
        tag=TAG,
        summary="Show a tool call and its result",
        gives=EndedCall,
        refuses=(404,),
    )
    def get(self, request: Request, call_id: UUID) -> HttpResponse:
        return whole(self.one(self.seen().defer("params"), call_id))


class CallCancellation(CallPage):
    """Ask a call to stop. What has begun stops if its tool can."""

    @described(
        "mcp_call_cancel",
        tag=TAG,
        summary="Ask a tool call to stop",
        gives=Cancellation,
        refuses=(404,),
    )
    def post(self, request: Request, call_id: UUID) -> Response:
        rows = self.seen(CHANGES).only("organization_id", "user_id")
        call = self.one(rows, call_id)
        asked = async_to_sync(tools.cancel)(owner_of(call), call.id)
        state = ToolCall.objects.values_list("state", flat=True).get(id=call.id)
        return Response({"call_id": str(call.id), "state": state, "cancel_requested": asked})


def owner_of(call: ToolCall) -> Principal:
    """Whose call it is, as who acts: an operator stops it in their stead."""
    return Principal(
        organization_id=call.organization_id,
        user_id=call.user_id,
        key_id="",
        scopes=frozenset({CALLBACK}),
    )


def whole(call: ToolCall, status: int = 200) -> HttpResponse:
    """A call with its result, which goes out as it came in: nothing of it is understood here."""
    shown: dict[str, Any] = dict(ShownCall(call).data)
    told = calls.result_of(call.state, call.result)
    body = msgspec.Raw(told.encode()) if told else None
    is_fault = call.outcome == Outcome.ERROR
    shown["result"] = None if is_fault else body
    shown["error"] = body if is_fault else None
    return HttpResponse(msgspec.json.encode(shown), status=status, content_type="application/json")
