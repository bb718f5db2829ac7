"""Whom a request says it means: by its body, by a header, or by the model it names (pure).

The body comes before the header, and the header before the model: what was written for this one
request says more than what a client was set up with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.intent import TASK_TYPES
from proxy.wire.body import BodyError, MessagesRequest

FIELD = "brigade"
HEADER = b"x-opscenter-agent"
MODEL = "model"
AUTO = "claude-brigade-auto"  # whoever suits what is asked
AGENT_PREFIX = "claude-agent-"  # Claude Code lists by itself only what begins with "claude"
CREW_PREFIX = "claude-crew-"

SLUG_CHARS = 50  # as many as the tables hold
_MEMBERS = ("agent", "crew", "task_type")
_SHAPE = f"{FIELD}: an object with agent, crew or task_type, or a string that names an agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for. Neither an agent nor a crew: whoever suits what is asked."""

    said_by: str  # the field, the header or the model, for words about it
    agent: str = ""
    crew: str = ""
    task_type: str = ""  # empty: to be found out


def is_reserved(model: str) -> bool:
    """Whether a model's name is that of an agent, a crew, or whoever suits."""
    return model == AUTO or model.startswith((AGENT_PREFIX, CREW_PREFIX))


def wish_of(request: MessagesRequest, headers: Iterable[tuple[bytes, bytes]]) -> Wish | None:
    """None for nearly all requests: they mean a model. Raises BodyError."""
    if FIELD in request.body.spans and (wish := _of_field(request.body.value(FIELD))):
        return wish
    for name, value in headers:
        if name == HEADER and value.strip():
            return named(value.decode("latin-1").strip(), HEADER.decode())
    return named(request.model, MODEL) if is_reserved(request.model) else None


def _of_field(value: Any) -> Wish | None:
    if value is None:
        return None
    if isinstance(value, str) and value:
        return named(value, FIELD)
    if not isinstance(value, Mapping):
        raise BodyError(_SHAPE)
    said = {name: _text(name, value[name]) for name in value}
    if unknown := said.keys() - set(_MEMBERS):
        raise BodyError(f"{FIELD}.{min(unknown)[:50]}: there is no such field. {_SHAPE}.")
    if said.get("agent") and said.get("crew"):
        raise BodyError(f"{FIELD}: name an agent or a crew, not both.")
    task_type = said.get("task_type", "")
    if task_type and task_type not in TASK_TYPES:
        raise BodyError(f"{FIELD}.task_type: one of {', '.join(TASK_TYPES)}")
    return Wish(
        said_by=FIELD,
        agent=said.get("agent", ""),
        crew=said.get("crew", ""),
        task_type=task_type,
    )


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BodyError(f"{FIELD}.{name[:50]}: Input should be a valid string")
    return value


def named(name: str, said_by: str) -> Wish:
    """An agent by its slug, or whatever a model's name means."""
    if name in {AUTO, "auto"}:
        return Wish(said_by=said_by)
    if name.startswith(CREW_PREFIX):
        return Wish(said_by=said_by, crew=name.removeprefix(CREW_PREFIX))
    return Wish(said_by=said_by, agent=name.removeprefix(AGENT_PREFIX))
