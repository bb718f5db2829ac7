"""Calls that wait for a person: which there are, and what is said to one."""

from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.described import described
from accounts.principal import APPROVE
from accounts.rest import HasScope, address_of
from mcp.calls import Decider, UndecidedError
from mcp.models import Approval
from mcp.serializers import Decision
from mcp.shown import ShownApproval, ShownApprovals, ShownDecision
from mcp.states import Source
from mcp.views import deciding
from mcp.views.pages import TAG, TunnelPage
from mcp.views.refusals import JSON

NO_APPROVAL = "There is no such approval for you to decide; GET /api/mcp/approvals lists them."


class UndecidableError(APIException):
    """It is not decided now, by this. `code` says why."""

    status_code = 409

    def __init__(self, error: UndecidedError) -> None:
        super().__init__({"detail": str(error), "code": error.code})


class ApprovalPage(TunnelPage):
    """For signed-in people, and for keys with `mcp-approve`.

    Not `mcp-callback`: that key lies on the machine on which the calls run, and an agent that found
    it could approve its own.
    """

    permission_classes = [HasScope(APPROVE)]

    def decider(self, request: Request) -> Decider:
        caller = self.principal()
        source = Source.API if caller else Source.WEB
        return deciding.decider_of(self.user(), caller, source, address_of(request))


class Approvals(ApprovalPage):
    """List what waits for the caller: calls of their machines, to staff those of others too."""

    @described(
        "mcp_approvals",
        tag=TAG,
        summary="List the tool calls that wait for an approval",
        gives=ShownApprovals,
    )
    def get(self, request: Request) -> HttpResponse:
        rows, has_more = deciding.pending(self.decider(request))
        return _json({"results": [shown(row) for row in rows], "has_more": has_more})


class OneApproval(ApprovalPage):
    """Show a question, or answer it."""

    @described(
        "mcp_approval",
        tag=TAG,
        summary="Show the question about a tool call, and its answer",
        gives=ShownApproval,
        refuses=(404,),
    )
    def get(self, request: Request, approval_id: UUID) -> HttpResponse:
        found = deciding.one(self.decider(request), approval_id)
        if found is None:
            raise NotFound(NO_APPROVAL)
        return _json(shown(found))

    @described(
        "mcp_approval_decide",
        tag=TAG,
        summary="Approve a tool call, or refuse it",
        body=Decision,
        gives=ShownDecision,
        refuses=(404, 409),
    )
    def post(self, request: Request, approval_id: UUID) -> Response:
        wanted = Decision(data=request.data)
        wanted.is_valid(raise_exception=True)
        said: dict[str, Any] = wanted.validated_data
        try:
            decided = deciding.decide(
                self.decider(request),
                approval_id,
                digest=said["digest"],
                approve=said["approve"],
            )
        except UndecidedError as error:
            raise (
                NotFound(NO_APPROVAL) if error.code == "unknown" else UndecidableError(error)
            ) from error
        return Response(
            {
                "id": str(decided.approval_id),
                "call_id": str(decided.call_id),
                "state": decided.answer.value,
            }
        )


def shown(row: Approval) -> dict[str, Any]:
    """A question with the exact call, which goes out as it came in."""
    found = dict(ShownApproval(row).data)
    params = msgspec.json.decode(row.call.params, type=dict[str, msgspec.Raw])
    found["arguments"] = params.get("arguments", msgspec.Raw(b"{}"))
    return found


def _json(value: dict[str, Any]) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), content_type=JSON)
