"""Run a tool of one's own machine: wait for its end, or take its id."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from adrf.views import APIView as AsyncAPIView
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.request import Request

from accounts.described import described
from accounts.principal import Principal
from accounts.rest import BodyTooLargeError
from billing import ledger
from mcp import calls, tasks, tools
from mcp.serializers import Execution, Id
from mcp.shown import EXECUTED
from mcp.tasks import NotGrantedError, Work
from mcp.tools import Ended, RefusedError
from mcp.views.edge import TunnelEdge
from mcp.views.pages import NOT_YOURS, TAG, ConflictError, TunnelPage, TunnelParser
from mcp.views.refusals import JSON

KEY_HEADER = "HTTP_IDEMPOTENCY_KEY"
BY_KEY = "idempotency-key"  # stands where the id of a request would
AGAIN_S = 1  # a place in a queue comes free when a call ends


class NotNowError(APIException):
    """The machine or its queue cannot take it at present. `wait` becomes Retry-After."""

    wait = AGAIN_S

    def __init__(self, error: RefusedError, status: int) -> None:
        self.status_code = status
        super().__init__({"detail": str(error), "code": error.code})


_EXECUTION = Execution()  # once: to copy its fields takes longer than to ask them
_NOT_OF_A_TASK = "A task's token says this already: leave it out."
_STATUS = {"queue_full": 429, "offline": 503, "not_ready": 503}
_NOT_THERE = {"no_such_server": "server", "no_such_tool": "tool"}
_WRONG = {"bad_arguments": "arguments", "bad_deadline": "timeout_s", "bad_ids": "request_id"}


class Execute(TunnelPage, AsyncAPIView):  # type: ignore[misc]  # adrf ships no types
    """For signed-in people, and for keys where the lean handler does not serve."""

    view_is_async = True

    @described(
        "mcp_execute",
        tag=TAG,
        summary="Run a tool of one's own machine",
        body=Execution,
        gives=EXECUTED,
        refuses=(404, 409),
    )
    async def post(self, request: Request) -> HttpResponse:
        wanted = asked(request.data, request.META)
        caller = await sync_to_async(self.acting)(wanted["organization"])
        return await run(caller, wanted)


class ExecuteByKey(TunnelEdge):
    """The same on the lean handler: no thread waits with it."""

    async def post(self, request: HttpRequest) -> HttpResponse:
        body = TunnelParser().parse(BytesIO(request.body))
        work: Work | None = getattr(request, "scope", {}).get("task")
        if work is not None:
            return await run_for(work, body, request.META)
        wanted = asked(body, request.META)
        if wanted["organization"] not in (None, self.caller.organization_id):
            raise ValidationError({"organization": [NOT_YOURS]})
        return await run(self.caller, wanted)


def asked(body: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be run, with the ids that make a repetition the same call."""
    wanted: dict[str, Any] = dict(_EXECUTION.run_validation(body))
    if KEY_HEADER in headers:
        if wanted["request_id"] is not None:
            text = "Send either an Idempotency-Key or ids, not both."
            raise ValidationError({"request_id": [text]})
        try:
            key = Id().run_validation(headers[KEY_HEADER])
        except ValidationError as error:
            raise ValidationError({"Idempotency-Key": error.detail}) from error
        wanted |= {"request_id": BY_KEY, "tool_use_id": key}
    elif wanted["request_id"] is None:
        wanted |= {"request_id": f"req_{ledger.new_id().hex}", "tool_use_id": "execute"}
    return wanted


async def run_for(work: Work, body: Any, headers: Mapping[str, Any]) -> HttpResponse:
    """Run one of a task's own tools, as long as the task lasts. The ids are the gateway's."""
    wanted: dict[str, Any] = dict(_EXECUTION.run_validation(body))
    for name in ("request_id", "tool_use_id", "organization"):
        if wanted[name] is not None:
            raise ValidationError({name: [_NOT_OF_A_TASK]})
    if not wanted["wait"]:
        raise ValidationError({"wait": ["A task waits for its tools: leave it out."]})
    key = headers.get(KEY_HEADER, "")
    if key:
        key = Id().run_validation(key)
    try:
        tool = work.granted(wanted["server"], wanted["tool"])
    except NotGrantedError as error:
        raise PermissionDenied(str(error)) from error
    call = {
        "server": tool.served,
        "tool": tool.tool,
        "machine": tool.machine,
        "arguments": wanted["arguments"],
        "deadline_s": wanted["timeout_s"],
        "request_id": work.request_id,
        "tool_use_id": work.use_id(key),
        "step": work.step,
    }
    try:
        return _json(_shown(await tasks.while_open(work, tools.run(work.principal, **call))))
    except RefusedError as error:
        raise _in_rest(error) from error


async def run(caller: Principal, wanted: Mapping[str, Any]) -> HttpResponse:
    """Run it. If the client leaves, this is cancelled, and so is the call."""
    call = {
        "server": wanted["server"],
        "tool": wanted["tool"],
        "arguments": wanted["arguments"],
        "deadline_s": wanted["timeout_s"],
        "request_id": wanted["request_id"],
        "tool_use_id": wanted["tool_use_id"],
    }
    try:
        if wanted["wait"]:
            return _json(_shown(await tools.run(caller, **call)))
        call_id = await tools.submit(caller, **call)
    except RefusedError as error:
        raise _in_rest(error) from error
    return _json({"call_id": str(call_id)}, status=202)


def _in_rest(error: RefusedError) -> APIException:
    if error.code in _STATUS:
        return NotNowError(error, _STATUS[error.code])
    if error.code in _NOT_THERE:
        found = APIException({_NOT_THERE[error.code]: [str(error)]})
        found.status_code = 404
        return found
    if error.code == "other_call":
        return ConflictError(str(error))
    if error.code == "denied":
        return PermissionDenied(str(error))
    if error.code == "too_large":
        return BodyTooLargeError(calls.MAX_ARGUMENT_BYTES)
    return ValidationError({_WRONG.get(error.code, "detail"): [str(error)]})


def _shown(ended: Ended) -> dict[str, Any]:
    return {
        "call_id": str(ended.call_id),
        "state": ended.state.value,
        "is_error": ended.is_error,
        "result": ended.result,
    }


def _json(value: Mapping[str, Any], status: int = 200) -> HttpResponse:
    # Not msgspec: a result may hold half of a surrogate pair, which this one writes escaped.
    return HttpResponse(json.dumps(value), status=status, content_type=JSON)
