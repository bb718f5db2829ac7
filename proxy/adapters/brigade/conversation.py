"""What a request says, read for servers that take less than the Messages API can say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from proxy.adapters.openai.content import Block, blocks_of
from proxy.adapters.openai.fields import (
    a_list,
    an_object,
    optional_object,
    optional_string,
    required,
    string_of,
)
from proxy.adapters.openai.messages import system_texts
from proxy.adapters.openai.turns import MAX_MESSAGES
from proxy.wire.body import BodyError

# Without these the answer would be one to another question; no dialect has a place for them.
_NEVER = ("container", "thread", "compaction")
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})  # older thinking is over, on any server


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message, without thinking and empty text."""

    role: str
    at: str
    blocks: list[tuple[str, Block]]


def cannot(at: str, dialect: str) -> NoReturn:
    """Raise BodyError: another upstream may be able to."""
    raise BodyError(f"{at}: Brigade cannot take this in its {dialect} dialect")


def refuse_what_none_can(body: Mapping[str, Any], dialect: str) -> None:
    """Raise BodyError for thinking, for a format and for what needs a server of Anthropic's."""
    for name in _NEVER:
        if body.get(name):
            cannot(name, dialect)
    thinking = optional_object(body, "thinking")
    if thinking and string_of(thinking, "type", "thinking") != "disabled":
        cannot("thinking", dialect)
    wanted = optional_object(body, "output_config")
    if wanted.get("format") is not None:
        cannot("output_config.format", dialect)


def turns_of(body: Mapping[str, Any], dialect: str) -> list[Turn]:
    """The messages in their order. Raises BodyError."""
    messages = a_list(body.get("messages"), "messages")
    if len(messages) > MAX_MESSAGES:
        raise BodyError(f"messages: List should have at most {MAX_MESSAGES} items")
    found = [_turn(message, f"messages.{number}") for number, message in enumerate(messages)]
    turns = [turn for turn in found if turn.blocks]
    if not turns:
        raise BodyError("messages: at least one message is required")
    for turn in turns:
        if turn.role == "system":
            cannot(turn.at, dialect)
    if turns[-1].role != "user":
        cannot(f"{turns[-1].at} (an answer that has begun)", dialect)
    return turns


def _turn(message: Any, at: str) -> Turn:
    role = string_of(an_object(message, at), "role", at)
    if role not in {"user", "assistant", "system"}:
        raise BodyError(f"{at}.role: Input should be 'user', 'assistant' or 'system'")
    blocks = blocks_of(required(message, "content", at), f"{at}.content")
    return Turn(role=role, at=at, blocks=[one for one in blocks if _says_something(*one)])


def _says_something(at: str, block: Block) -> bool:
    if block["type"] == "text":
        return bool(string_of(block, "text", at))
    return block["type"] not in _THOUGHTS


def text_of(turn: Turn, dialect: str) -> str:
    """A turn that is nothing but text. Raises BodyError for any other."""
    texts = []
    for at, block in turn.blocks:
        if block["type"] != "text":
            cannot(at, dialect)
        texts.append(string_of(block, "text", at))
    return "\n\n".join(texts)


def system_of(body: Mapping[str, Any]) -> str:
    """What the system says, empty for nothing. Raises BodyError."""
    return "\n\n".join(system_texts(body.get("system")))


def user_of(body: Mapping[str, Any]) -> str:
    """Whom the client names as its user, empty where it names nobody."""
    return optional_string(optional_object(body, "metadata"), "user_id", "metadata")


def refuse_tools(body: Mapping[str, Any], dialect: str) -> None:
    """Raise BodyError where the client or the request's own servers offer tools."""
    for name in ("tools", "mcp_servers"):
        if body.get(name):
            cannot(name, dialect)
