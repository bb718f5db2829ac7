"""The policy in effect, and how a person reads it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from opscenter_connector.policy import (
    BASH,
    CONFINING,
    LOCAL,
    READS,
    WRITES,
    Call,
    Decision,
    Default,
    Policy,
    Rule,
    judge,
    version_of,
)
from opscenter_connector.settings import Settings
from opscenter_connector.wording import counted

SHORT = 12  # signs of a version that a person compares

DEFAULTS = {
    Default.ALLOW: "allow",
    Default.ASK: "ask",
    Default.DENY: "deny",
    Default.HINTS: "allow; ask about what it calls destructive itself",
    Default.READ_ONLY: "allow what says that it only reads; ask about the rest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What holds for one tool, or for all others of a server."""

    server: str
    tool: str
    decision: str


def of(settings: Settings) -> Policy:
    """What a person has said, with the folders that are open now."""
    folders = settings.local.allowed_paths if settings.local else ()
    ways = (str(way) for one in folders for way in (one, one.resolve()))
    return replace(settings.policy, roots=tuple(dict.fromkeys(ways)))


def version(policy: Policy, layer: str) -> str:
    return full_version(policy, layer)[:SHORT]


def full_version(policy: Policy, layer: str) -> str:
    """What approvals are bound to."""
    return version_of(policy, layer)


def lines(settings: Settings, layer: str) -> list[Line]:
    """For each server its rules, and what holds for its other tools."""
    policy = of(settings)
    found = list(_built_in(policy, layer)) if settings.local else []
    for spec in settings.servers:
        own = policy.of(spec.name)
        found += [_ruled(spec.name, tool, rule) for tool, rule in own.tools.items()]
        others = "other tools" if own.tools else "all tools"
        default = DEFAULTS[own.default or policy.default]
        found.append(Line(server=spec.name, tool=others, decision=default))
    return found


def of_tool(policy: Policy, server: str, definition: Mapping[str, Any], layer: str) -> str:
    """What becomes of its calls, in a word or two."""
    tool = str(definition.get("name", ""))
    rule = policy.of(server).tools.get(tool)
    if rule is not None and rule != Rule(decision=rule.decision):
        return "by its rule"
    call = Call(server=server, tool=tool, arguments={}, definition=definition)
    return judge(policy, call, layer).decision.value


def summary(settings: Settings, layer: str) -> str:
    """On one line."""
    policy = of(settings)
    rules = sum(len(own.tools) for own in policy.servers.values())
    parts = [f"{counted(rules, 'rule')} for single tools" if rules else "no rule for a single tool"]
    parts += [f"bash: {one.decision}" for one in lines(settings, layer) if one.tool == BASH]
    if settings.servers:
        parts.append(f"MCP servers: {DEFAULTS[policy.default]}")
    return "; ".join(parts)


def notes(settings: Settings) -> list[str]:
    """What holds besides."""
    policy = of(settings)
    found = [f"approvals count from: {' and '.join(policy.approve_from)}"]
    if settings.servers:
        found.append(
            f"a tool that says something else of itself than before: {policy.changed.value}"
        )
    return found


def as_json(settings: Settings, layer: str) -> dict[str, Any]:
    """The same for programs; `version` is what approvals are bound to."""
    policy = of(settings)
    return {"version": version_of(policy, layer), "sandbox": layer} | asdict(policy)


def _built_in(policy: Policy, layer: str) -> Iterator[Line]:
    own = policy.of(LOCAL)
    for tools in (sorted(READS), sorted(WRITES), [BASH]):
        ruled = [tool for tool in tools if tool in own.tools]
        for tool in ruled:
            yield _narrowed(policy, layer, _ruled(LOCAL, tool, own.tools[tool]))
        if free := [tool for tool in tools if tool not in ruled]:
            default = DEFAULTS[own.default] if own.default else "allow"
            line = Line(server=LOCAL, tool=", ".join(free), decision=default)
            yield _narrowed(policy, layer, line)


def _narrowed(policy: Policy, layer: str, line: Line) -> Line:
    """With what no rule for a tool takes away."""
    decision = line.decision
    if any(tool in line.tool for tool in WRITES) and policy.protected is not Decision.ALLOW:
        decision += f"; {policy.protected.value} about names that other programs obey"
    if line.tool == BASH:
        if layer in CONFINING:
            decision += f"; sandbox: {layer}"
        elif decision != Decision.DENY.value:
            decision = f"{policy.unconfined.value}: no sandbox holds commands here"
    return replace(line, decision=decision)


def _ruled(server: str, tool: str, rule: Rule) -> Line:
    said = rule.decision.value
    limits = []
    if rule.paths:
        limits.append(f"in {', '.join(rule.paths)}")
    if rule.commands:
        limits.append(f"for {counted(len(rule.commands), 'command')} word for word")
    if limits:
        said += f" {' and '.join(limits)}, else {rule.otherwise.value}"
    if hints := len(rule.ask_commands) + len(rule.deny_commands):
        said += f"; stricter for {counted(hints, 'beginning')} of commands"
    return Line(server=server, tool=tool, decision=said)
