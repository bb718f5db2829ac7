"""Who calls the tunnel's paths: a key's owner, or whoever works on a task, on one path alone."""

from collections.abc import Mapping
from typing import Any

from accounts.auth import TASK_PREFIX
from accounts.principal import Principal
from mcp import tasks
from proxy import edge

EXECUTE = "/api/mcp/execute"
_BEARER = b"bearer "


async def of_tunnel(scope: dict[str, Any]) -> Principal:
    """The caller. Of one who works on a task, `scope` holds that task besides."""
    token = _task_token(scope) if scope["path"].removesuffix("/") == EXECUTE else ""
    if not token:
        return await edge.caller_of(scope)
    scope["task"] = work = await tasks.opened(token)
    return work.principal


def _task_token(scope: Mapping[str, Any]) -> str:
    """The token of a task as a bearer; empty where none is shown so."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            token: str = value[len(_BEARER) :].decode("latin-1").strip()
            return token if token.startswith(TASK_PREFIX) else ""
    return ""
