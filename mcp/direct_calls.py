"""One call of a server that the gateway reaches itself, from its params to how it ended."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec import Raw

from accounts.reads import DatabaseAwayError
from mcp import direct_rows
from mcp import remote_wire as wire
from mcp.calls import MAX_RESULT_BYTES, Claimed, failure
from mcp.exchange import AnsweredError, RemoteError, TooLargeError
from mcp.remote_wire import Failure, Json, NotMcpError
from mcp.remotes import Remotes
from mcp.states import Outcome
from mcp.targets import BadTargetError
from mcp.threads import off_loop

MAX_MESSAGE_CHARS = 2000  # of a server's own error; the rest of it helps nobody
MAX_DATA_BYTES = 64 * 1024  # of what a server adds to its error
UNREACHED = -32000  # the code of JSON-RPC for what no server said

TOO_LARGE = failure(
    f"The tool ran, but its answer is larger than {MAX_RESULT_BYTES} bytes and was not taken."
    " Ask for less at once."
)

Told = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended, as the queue wants to hear it."""

    outcome: Outcome
    body: str | None = None


async def run(
    remotes: Remotes, connector_id: UUID, call: Claimed, remaining_ms: int, told: Told
) -> Ended:
    """Ask the server, within what remains. Cancelling it cancels the call at the server."""
    try:
        async with asyncio.timeout(remaining_ms / 1000):
            raw = await _asked(remotes, connector_id, call, told)
        return Ended(Outcome.DONE, _checked(raw, call.method))
    except AnsweredError as error:
        return Ended(Outcome.ERROR, _error(error.failure))
    except TooLargeError:
        return Ended(Outcome.DONE, TOO_LARGE)
    except RemoteError as error:
        return unanswered(call, str(error), may_have_run=error.may_have_run)
    except (BadTargetError, DatabaseAwayError) as error:
        return unanswered(call, str(error), may_have_run=False)
    except TimeoutError:
        return unanswered(call, "It did not answer in time.", may_have_run=True)


def unanswered(call: Claimed, reason: str, *, may_have_run: bool) -> Ended:
    """How a call ended that got no answer: what has effects may have had them."""
    if may_have_run and call.has_effects:
        return Ended(Outcome.INTERRUPTED)
    return Ended(Outcome.ERROR, _error(Failure(UNREACHED, f"MCP server {call.server}: {reason}")))


async def _asked(remotes: Remotes, connector_id: UUID, call: Claimed, told: Told) -> Raw:
    params = json.loads(call.params)
    tool = params.get("name") if call.method == "tools/call" else None
    found = await off_loop(direct_rows.known)(connector_id, call.server, tool)
    if found is None:
        raise RemoteError("It is not registered any more.")
    server, schema = found
    async with remotes.lent(server) as remote:
        return await remote.ask(call.method, params, schema=schema, told=told)


def _checked(raw: Raw, method: str) -> str:
    """The result as text. Raises RemoteError for what is none."""
    if len(raw) > MAX_RESULT_BYTES:
        raise TooLargeError("It answers with more than anybody takes.", may_have_run=True)
    try:
        result = wire.result_of(raw)
    except NotMcpError as error:
        raise RemoteError(str(error), may_have_run=True) from error
    if method == "tools/call" and not _is_tool_result(result):
        raise RemoteError("It answered with what is no result of a tool.", may_have_run=True)
    return bytes(raw).decode()


def _is_tool_result(result: dict[str, Any]) -> bool:
    content = result.get("content", [])
    is_list = isinstance(content, list) and all(isinstance(block, dict) for block in content)
    return is_list and isinstance(result.get("isError", False), bool)


def _error(failure: Failure) -> str:
    kept = Failure(failure.code, failure.message[:MAX_MESSAGE_CHARS], failure.data)
    text = wire.encoded(kept)
    if len(text) > MAX_DATA_BYTES:
        text = wire.encoded(Failure(kept.code, kept.message))
    return text.decode()
