"""One agent's chat: a message and its history in plain text, an answer in tokens."""

from collections.abc import Mapping
from typing import Any

from proxy.adapters.brigade import conversation
from proxy.adapters.brigade.dialect import Spoken
from proxy.adapters.brigade.lines import whole
from proxy.adapters.brigade.telling import Setting, Telling, fail
from proxy.adapters.language import Call
from proxy.adapters.openai.chunks import decoded
from proxy.answer import UpstreamError, UpstreamNonsenseError

NAME = "chat"


def path(agent: str) -> str:
    """Where the agent is asked, streaming or not."""
    return f"/api/v1/agents/{agent}/chat"


def spoken(body: Mapping[str, Any], agent: str, call: Call) -> Spoken:
    """The request in this dialect. Raises BodyError for what it has no place for."""
    conversation.refuse_what_none_can(body, NAME)
    conversation.refuse_tools(body, NAME)
    if conversation.system_of(body):
        conversation.cannot("system", NAME)
    turns = conversation.turns_of(body, NAME)
    said = [{"role": t.role, "content": conversation.text_of(t, NAME)} for t in turns]
    sent = {"message": said[-1]["content"], "stream": call.request.stream, "history": said[:-1]}
    return Spoken(path=path(agent), body=sent, reader=ChatReader, message=message)


class ChatReader:
    """The events of a chat: start, token, complete or error, and then [DONE]."""

    def __init__(self, setting: Setting) -> None:
        self._telling = Telling(setting)

    def take(self, value: Mapping[str, Any], out: list[bytes]) -> None:
        if self._telling.is_over:
            return
        match value.get("type"):
            case "start":
                self._telling.begin(out)
            case "token":
                self._telling.text(_text(value.get("content")), out)
            case "complete":
                self._complete(value, out)
            case "error":
                fail(value.get("error") or value.get("message"))

    def done(self, out: list[bytes]) -> None:
        self.end(out)

    def end(self, out: list[bytes]) -> None:
        # An answer is whole when it says so: [DONE] comes after a failure too.
        if not self._telling.is_over:
            raise UpstreamError("The upstream ended its stream before its answer was whole.")

    def _complete(self, value: Mapping[str, Any], out: list[bytes]) -> None:
        if not self._telling.chars:  # else it repeats what its tokens have said
            self._telling.text(_text(value.get("content")), out)
        self._telling.count(value.get("tokens"))
        self._telling.count(value.get("usage"))
        self._telling.end(out)


def message(body: bytes, setting: Setting) -> bytes:
    """A whole answer as a Message. Raises UpstreamError."""
    value = decoded(body)
    if value.get("error"):
        fail(value["error"])
    content = value.get("content")
    if not isinstance(content, str):
        raise UpstreamNonsenseError("The upstream answered with something that is no chat.")

    def tell(out: list[bytes]) -> None:
        telling = Telling(setting)
        telling.text(content, out)
        telling.count(value.get("usage"))
        telling.end(out)

    return whole(tell)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
