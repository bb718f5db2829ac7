"""The models that Claude Code asks for by itself, as a list of models describes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from proxy import agents, routing
from proxy.agents import AgentConfig, CrewConfig
from proxy.routing import RouteRule


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """What is public about a model. `created_at` is RFC 3339."""

    display_name: str
    line: str | None
    created_at: str


# The default names of Claude Code 2.1 and its aliases, newest first, and our own demo.
KNOWN: Mapping[str, KnownModel] = {
    "claude-opus-5-5": KnownModel(
        display_name="Claude Opus 5.5", line="opus", created_at="2026-09-29T00:00:00Z"
    ),
    "claude-sonnet-5-5": KnownModel(
        display_name="Claude Sonnet 5.5", line="sonnet", created_at="2026-09-28T00:00:00Z"
    ),
    "claude-haiku-5-5": KnownModel(
        display_name="Claude Haiku 5.5", line="haiku", created_at="2026-09-27T00:00:00Z"
    ),
    "claude-fable-5-2": KnownModel(
        display_name="Claude Fable 5.2", line="fable", created_at="2026-09-26T00:00:00Z"
    ),
    "claude-sonnet-5": KnownModel(
        display_name="Claude Sonnet 5", line="sonnet", created_at="2026-06-01T00:00:00Z"
    ),
}

_UNKNOWN_CREATED_AT = "1970-01-01T00:00:00Z"  # the API's own word for "not known"


# The lifecycles that a list shows unless it is asked for others.
LISTED = ("active", "deprecated")

_YES, _NO = {"supported": True}, {"supported": False}


def described(model_id: str, rule: RouteRule) -> dict[str, Any]:
    """One entry of `GET /v1/models`, in the shape the SDKs' strict types ask for.

    `description` is not the API's, but Claude Code shows it where people choose a model.
    """
    known = KNOWN.get(model_id)
    upstream = rule.upstream
    shown: dict[str, Any] = {
        "id": model_id,
        "type": "model",
        "display_name": rule.display_name or (known.display_name if known else model_id),
        "created_at": known.created_at if known else _UNKNOWN_CREATED_AT,
        "lifecycle": rule.lifecycle,
        "line": known.line if known else None,
        "max_input_tokens": upstream.context_window,
        "max_tokens": upstream.max_output_tokens,
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": _TRANSLATED if upstream.kind == "openai" else None,
    }
    return shown | {"description": rule.description} if rule.description else shown


class Served(agents.Roster, Protocol):
    """The part of a table's snapshot that is listed."""

    @property
    def rules(self) -> Sequence[RouteRule]: ...


def listed(served: Served, organization_id: UUID) -> list[dict[str, Any]]:
    """Every entry for an organization: its models first, and then agents and crews.

    A route of exactly an agent's name comes before the agent, here as in `agents.chosen`.
    """
    models = routing.published(served.rules, KNOWN, organization_id)
    entries = {name: described(name, rule) for name, rule in models.items()}
    for name, member in agents.published(served, organization_id).items():
        if name not in entries:
            entries[name] = _presented(name, member, served, organization_id)
    return list(entries.values())


_AUTO = ("Brigade", "The agent that suits what you ask for.")


def _presented(
    name: str, member: AgentConfig | CrewConfig | None, served: Served, organization_id: UUID
) -> dict[str, Any]:
    """One entry for an agent, a crew, or, where it is None, for whoever suits."""
    first = member.agents[0] if isinstance(member, CrewConfig) else member
    model = (first.model if first else "") or served.agent_model
    answering = routing.published(served.rules, [model], organization_id).get(model)
    upstream = answering.upstream if answering else None
    shown = _AUTO if member is None else (member.name, member.description)
    entry = {
        "id": name,
        "type": "model",
        "display_name": shown[0],
        "created_at": _UNKNOWN_CREATED_AT,
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": upstream.context_window if upstream else None,
        "max_tokens": upstream.max_output_tokens if upstream else None,
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
    }
    return entry | {"description": shown[1]} if shown[1] else entry


def _capabilities() -> dict[str, Any]:
    """What comes through the translation; of other upstreams only they themselves know."""
    efforts = {"low": _YES, "medium": _YES, "high": _YES, "xhigh": _NO, "max": _NO}
    thinking = {"adaptive": _YES, "between_tools": _NO, "disabled": _YES, "enabled": _YES}
    return {
        "batch": _NO,
        "citations": _NO,
        "code_execution": _NO,
        "image_input": _YES,
        "pdf_input": _YES,
        "structured_outputs": _YES,
        "context_management": {
            "supported": False,
            "clear_thinking_20251015": _NO,
            "clear_tool_uses_20250919": _NO,
            "compact_20260112": _NO,
        },
        "effort": {"supported": True, **efforts},
        "server_tools": {"supported": False, "code_execution": _NO, "web_search": _NO},
        "thinking": {"supported": True, "types": thinking},
    }


_TRANSLATED = _capabilities()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a list of models was asked for."""

    limit: int
    after_id: str
    before_id: str


def page(models: list[dict[str, Any]], asked: Page) -> dict[str, Any]:
    """One page, as the SDKs walk it: on by `after_id`, back by `before_id`."""
    ids = [model["id"] for model in models]
    if asked.before_id in ids:
        end = ids.index(asked.before_id)
        start = max(0, end - asked.limit)
        more = start > 0
    else:
        start = ids.index(asked.after_id) + 1 if asked.after_id in ids else 0
        end = start + asked.limit
        more = end < len(models)
    data = models[start:end]
    return {
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
