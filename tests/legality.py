"""What Anthropic demands of a history with tools, and of a stream: why one is none."""

from collections.abc import Iterable, Mapping
from typing import Any

_SENT = {"text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"}


def history_fault(messages: list[dict[str, Any]]) -> str | None:
    """Why the API would refuse these messages."""
    waiting: list[str] = []
    for at, message in enumerate(messages):
        content = message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if not blocks:
            return f"messages.{at}: is empty"
        if unknown := {block["type"] for block in blocks} - _SENT:
            return f"messages.{at}: holds {sorted(unknown)}"
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answered) != sorted(waiting):
            return f"messages.{at}: answers {answered} where {waiting} were called"
        results = [block["type"] == "tool_result" for block in blocks]
        if results != sorted(results, reverse=True):
            return f"messages.{at}: tool results must come first"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if message["role"] != ("user" if answered else message["role"]):
            return f"messages.{at}: a result of the assistant's"
    return f"the calls {waiting} have no results" if waiting else None


class Stream:
    """Events read by the grammar of the API and by nothing of ours."""

    def __init__(self) -> None:
        self._is_open, self._index, self.has_begun, self.has_ended = False, -1, False, False

    def read(self, event: Mapping[str, Any]) -> None:
        """The next event, which must be able to stand there."""
        kind = event["type"]
        assert not self.has_ended, f"{kind} after the end"
        assert self.has_begun or kind in {"message_start", "error", "ping"}, f"{kind} comes first"
        getattr(self, kind)(event)

    def ping(self, event: Mapping[str, Any]) -> None:
        """It may stand anywhere."""

    def message_start(self, event: Mapping[str, Any]) -> None:
        assert not self.has_begun, "two beginnings"
        assert event["message"]["content"] == []
        self.has_begun = True

    def content_block_start(self, event: Mapping[str, Any]) -> None:
        assert not self._is_open, f"block {event['index']} begins inside another"
        assert event["index"] == self._index + 1, f"block {event['index']} after {self._index}"
        self._is_open, self._index = True, event["index"]

    def content_block_delta(self, event: Mapping[str, Any]) -> None:
        assert self._is_open, f"block {event['index']} grows and is not open"
        assert event["index"] == self._index, f"{event['index']} grows, {self._index} is open"

    def content_block_stop(self, event: Mapping[str, Any]) -> None:
        self.content_block_delta(event)
        self._is_open = False

    def message_delta(self, event: Mapping[str, Any]) -> None:
        assert not self._is_open, "the end while a block is open"

    def message_stop(self, event: Mapping[str, Any]) -> None:
        assert not self._is_open
        self.has_ended = True

    def error(self, event: Mapping[str, Any]) -> None:
        assert isinstance(event["error"]["message"], str)
        self.has_ended = True


def check_stream(events: Iterable[Mapping[str, Any]]) -> None:
    """They are a stream that the SDKs can read."""
    stream = Stream()
    for event in events:
        stream.read(event)
    assert stream.has_ended, "no end"


def pairs_fault(content: list[dict[str, Any]]) -> str | None:
    """Why the calls of a message and their results do not make pairs."""
    uses = [block["id"] for block in content if block["type"] == "mcp_tool_use"]
    results = [block["tool_use_id"] for block in content if block["type"] == "mcp_tool_result"]
    return None if sorted(uses) == sorted(results) else f"{uses} and {results}"
