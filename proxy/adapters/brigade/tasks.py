"""A task for an agent: the whole conversation, the tools, and the way back to the machine."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from proxy.adapters.brigade import conversation, tools
from proxy.adapters.brigade.conversation import Turn, cannot
from proxy.adapters.brigade.dialect import Spoken
from proxy.adapters.brigade.lines import whole
from proxy.adapters.brigade.telling import Setting, Telling, fail
from proxy.adapters.language import Call
from proxy.adapters.openai.chunks import decoded
from proxy.adapters.openai.content import Block, blocks_of, flat, parts_of
from proxy.adapters.openai.fields import an_object, name_of, required, string_of
from proxy.answer import UpstreamError, UpstreamNonsenseError

NAME = "tasks"
PATH = "/api/tasks"
STREAM_PATH = "/api/tasks/stream"

# Passed on as they are, where the client says them.
_SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences")
_TASK_TYPES = {
    "code_writer": "code_generation",
    "code_reviewer": "code_review",
    "debugger": "debugging",
    "tester": "code_review",
    "security_auditor": "code_review",
    "architect": "system_design",
    "documentation_writer": "documentation",
}
_FAILED = frozenset({"failed", "error", "cancelled", "canceled", "timeout", "rejected"})
_UNDER_WAY = frozenset({"running", "pending", "queued"})
_TEXTS = frozenset({"text", "content"})  # sources of documents that are nothing but text


def spoken(body: Mapping[str, Any], agent: str, call: Call) -> Spoken:
    """The request as a task. Raises BodyError for what it has no place for."""
    conversation.refuse_what_none_can(body, NAME)
    if body.get("mcp_servers"):
        cannot("mcp_servers", NAME)
    stream = call.request.stream
    sent = _task(body, agent, call) | ({"stream": True} if stream else {})
    path = STREAM_PATH if stream else PATH
    return Spoken(path=path, body=sent, reader=TaskReader, message=message)


def _task(body: Mapping[str, Any], agent: str, call: Call) -> dict[str, Any]:
    at = _time_of(call)
    model = call.request.model
    context = {
        "system_prompt": conversation.system_of(body),
        "conversation_history": [
            {"role": turn.role, "content": _content(turn), "timestamp": at}
            for turn in conversation.turns_of(body, NAME)
        ],
        "model": model,
    }
    handed = call.handed
    ours = model.removeprefix("claude-agent-").replace("-", "_")
    task = {
        "task_id": f"task_{call.request_id.hex[-16:]}",
        "task_type": _TASK_TYPES.get(ours, "general"),
        "user_id": str(call.caller.user_id) if call.caller else "",
        "context": context | {name: body[name] for name in _SAMPLING if body.get(name) is not None},
        "agents": [agent],
        "tools": tools.declared(body, call, NAME),
        "mcp_servers": tools.servers(call),
        # Neither who the user is nor any credential but the token below: Brigade has its own.
        "user_config": {},
        "llm_config": {"model": model, "supports_streaming": True},
        "execution_server": None,
        "metadata": {
            "anthropic_request_id": f"req_{call.request_id.hex}",
            "timestamp": at,
            "stream": call.request.stream,
        },
    }
    if handed is not None:
        task["callback"] = {"callback_url": handed.url, "token": handed.token}
    return task


def _time_of(call: Call) -> str:
    """When the request came, as its id tells."""
    return datetime.fromtimestamp((call.request_id.int >> 80) / 1000, UTC).isoformat()


def _content(turn: Turn) -> list[dict[str, Any]]:
    return [_block(at, block) for at, block in turn.blocks]


def _block(at: str, block: Block) -> dict[str, Any]:
    match block["type"]:
        case "text":
            return _said(string_of(block, "text", at))
        case "tool_use":
            given = an_object(required(block, "input", at), f"{at}.input")
            name = name_of(block, "name", at)
            return {
                "type": "tool_call",
                "id": name_of(block, "id", at),
                "name": name,
                "input": given,
            }
        case "tool_result":
            return {
                "type": "tool_result",
                "tool_use_id": name_of(block, "tool_use_id", at),
                "content": _result(at, block),
            }
    return _said(_told(at, block))


def _said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _result(at: str, block: Block) -> str:
    content = block.get("content")
    inner = blocks_of("" if content is None else content, f"{at}.content")
    text = "\n\n".join(_told(place, one) for place, one in inner)
    # There is no field that says so.
    return f"Error: {text}" if block.get("is_error") is True else text


def _told(at: str, block: Block) -> str:
    """A block in words. Raises BodyError for pictures and files."""
    kind = block["type"]
    if kind == "image" or kind == "container_upload":
        cannot(f"{at} ({kind})", NAME)
    if kind == "document":
        source = an_object(required(block, "source", at), f"{at}.source")
        if source.get("type") not in _TEXTS:
            cannot(f"{at} ({kind})", NAME)
    parts = (
        parts_of(block, at, ()) if kind in {"text", "document", "search_result"} else [flat(block)]
    )
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        cannot(f"{at} ({kind})", NAME)
    return "\n\n".join(texts)


class TaskReader:
    """The lines of a task: text as it comes, and the whole answer at the end, or its parts."""

    def __init__(self, setting: Setting) -> None:
        self._telling = Telling(setting)
        self._has_ended = False

    def take(self, value: Mapping[str, Any], out: list[bytes]) -> None:
        if self._telling.is_over:
            return
        self._telling.count(value.get("usage"))
        match value.get("type"):
            case "error":
                fail(value.get("error") or value.get("message"))
            case "content_block_start" | "content_block_delta" as kind:
                inner = value.get("content_block" if kind.endswith("start") else "delta")
                self._telling.text(_text_in(value) or _text_in(inner), out)
            case "tool_call":
                _call(self._telling, value, out)
            case "message_stop":
                self._has_ended = True
            case _ if "status" in value:
                self._take_status(value, out)

    def _take_status(self, value: Mapping[str, Any], out: list[bytes]) -> None:
        if value["status"] in _UNDER_WAY:
            self._telling.begin(out)
        else:
            _take_whole(self._telling, value, out)

    def done(self, out: list[bytes]) -> None:
        self._has_ended = True

    def end(self, out: list[bytes]) -> None:
        # What ends it may come before what counts it, so only the end of the body is the end.
        if not self._has_ended and not self._telling.is_over:
            raise UpstreamError("The upstream ended its stream before its answer was whole.")
        self._telling.end(out)


def message(body: bytes, setting: Setting) -> bytes:
    """A finished task as a Message. Raises UpstreamError, also for a task that has failed."""
    value = decoded(body)
    if "status" not in value and "result" not in value:
        if value.get("error"):
            fail(value["error"])
        raise UpstreamNonsenseError("The upstream answered with something that is no task.")

    def tell(out: list[bytes]) -> None:
        telling = Telling(setting)
        telling.count(value.get("usage"))
        _take_whole(telling, value, out)
        telling.end(out)

    return whole(tell)


def _take_whole(telling: Telling, value: Mapping[str, Any], out: list[bytes]) -> None:
    """Tell a task as it stands, and its end where it has one."""
    status = value.get("status")
    result = value.get("result")
    result = result if isinstance(result, Mapping) else {"content": result}
    if status in _FAILED:
        fail(value.get("error") or result.get("error") or f"The task has {status}.")
    if status in _UNDER_WAY:
        raise UpstreamNonsenseError(f"The upstream answered with a task that is still {status}.")
    if not telling.chars:  # else it repeats what has been said
        telling.text(content_of(result.get("content")), out)
        listed = result.get("tool_calls")
        for call in listed if isinstance(listed, list) else ():
            _call(telling, call, out)
    reason = "max_tokens" if status == "max_tokens" else ""
    telling.end(out, reason=reason, stopped_at=result.get("stop_sequence"))


def _call(telling: Telling, call: object, out: list[bytes]) -> None:
    if not isinstance(call, Mapping):
        raise UpstreamNonsenseError("The upstream called a tool without naming it.")
    if call.get("result") is None:  # else Brigade has run it itself and only tells of it
        telling.call(call.get("name"), call.get("input"), out)


def content_of(content: object) -> str:
    """The text of an answer: a string, or blocks of which only text is any."""
    if isinstance(content, list):
        return "".join(map(_text_in, content))
    return content if isinstance(content, str) else ""


def _text_in(value: object) -> str:
    text = value.get("text") if isinstance(value, Mapping) else None
    return text if isinstance(text, str) else ""
