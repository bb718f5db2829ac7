"""How a run ended, in the words of the tunnel and of the screen."""

from typing import Any

import anyio

from opscenter_connector import frames, happenings, results
from opscenter_connector.journal import End
from opscenter_connector.settings import LocalSpec

OURS = "opscenter/"  # of names in data and _meta: the gateway believes them
INTERNAL_ERROR, METHOD_NOT_FOUND, TIMED_OUT = -32603, -32601, -32001


def error(code: int, message: str, data: Any = None) -> End:
    body = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return End(outcome="error", body=body)


def theirs(data: Any) -> Any:
    """What a local server says with an error, without what only this program says."""
    if not isinstance(data, dict):
        return data
    return {name: said for name, said in data.items() if not str(name).startswith(OURS)}


def timed_out(limit_s: float) -> End:
    return error(
        TIMED_OUT, f"no answer within {limit_s:g} s; the tool was told to stop and may have acted"
    )


async def fit(end: End, max_bytes: int) -> tuple[End, str]:
    """At once, or in a thread where that would hold up the others' calls."""
    if results.is_small(end.body):
        return _fitted(end, max_bytes)
    return await anyio.to_thread.run_sync(_fitted, end, max_bytes)


def _fitted(end: End, max_bytes: int) -> tuple[End, str]:
    if end.body is None:
        return end, ""
    if end.outcome == "error":
        return End(outcome="error", body=results.fitted_error(end.body)), ""
    body, note = results.fitted(end.body, max_bytes)
    return End(outcome=end.outcome, body=body), note


def told(call: frames.Call, end: End, took_s: float, note: str) -> happenings.CallEnded:
    """For the screen and the log."""
    body = end.body or {}
    return happenings.CallEnded(
        id=call.id,
        server=call.server,
        tool=call.tool,
        outcome=end.outcome,
        is_error=end.outcome == "done" and body.get("isError") is True,
        took_s=took_s,
        note=str(body.get("message", "")) if end.outcome == "error" else note or _why(call, body),
    )


def _why(call: frames.Call, body: dict[str, Any]) -> str:
    """Why a built-in tool failed. What others say of themselves may hold anything."""
    if call.server != LocalSpec.NAME or body.get("isError") is not True:
        return ""
    fields = body.get("structuredContent")
    if isinstance(fields, dict) and "ended" in fields:
        by_itself = f"exit code {fields.get('returncode')}"
        return ENDED.get(str(fields["ended"]), by_itself)
    blocks = body.get("content") or [{}]
    return str(blocks[0].get("text", "")).partition(". ")[0]  # what to do next is for the model


ENDED = {
    "timeout": "its time was up",
    "output": "it wrote too much",
    "disk": "it took too much of the disk",
    "memory": "it took too much memory",
    "processes": "it started too many processes",
    "stopped": "it was stopped",
}
