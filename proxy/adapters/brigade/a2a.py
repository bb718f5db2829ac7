"""One agent invoked by another: a task in plain text, an answer in one piece."""

from collections.abc import Mapping
from typing import Any

from proxy.adapters.brigade import conversation, tasks
from proxy.adapters.brigade.dialect import Spoken
from proxy.adapters.language import Call

NAME = "a2a"


def path(agent: str) -> str:
    """Where the agent is invoked. It never streams."""
    return f"/api/v1/a2a/agents/{agent}/invoke"


def spoken(body: Mapping[str, Any], agent: str, call: Call) -> Spoken:
    """The request in this dialect. Raises BodyError for what it has no place for."""
    conversation.refuse_what_none_can(body, NAME)
    conversation.refuse_tools(body, NAME)
    turns = conversation.turns_of(body, NAME)
    said = [{"role": t.role, "content": conversation.text_of(t, NAME)} for t in turns]
    sent: dict[str, Any] = {"task": said[-1]["content"], "conversation_history": said[:-1]}
    if system := conversation.system_of(body):
        sent["context"] = system
    # Its answer is a finished task's but for the name of what was said.
    return Spoken(path=path(agent), body=sent, reader=tasks.TaskReader, message=tasks.message)
