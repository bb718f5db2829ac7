"""What this machine allows, asks about and denies. Pure, and decided here: no gateway widens it.

It is no boundary. The boundary is the sandbox and the folders that are open; this says who decides.
"""

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from opscenter_connector.policing import commands, paths

LOCAL = "local"  # the built-in server
BASH = "bash"
WRITES = frozenset({"write_file", "edit_file"})
READS = frozenset({"read_file", "list_directory", "glob", "grep"})
LOCAL_PATHS = ("path", "cwd")  # the arguments of the built-in tools that name a place
CONFINING = frozenset({"bubblewrap", "landlock", "seatbelt"})  # layers that passed their self-test
OWN = "connector.toml says what agents may do here, and no tool writes it; the person does"
UNCONFINED = (
    "no sandbox holds commands here: this one may do all that the person may who runs the "
    "connector, with every file, key and the network"
)


class Decision(str, Enum):
    """What becomes of a call. Later ones are stricter."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


STRICTNESS = {decision: number for number, decision in enumerate(Decision)}


class Default(str, Enum):
    """What becomes of the calls of a server whose tool has no rule."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"
    HINTS = "hints"  # asks about what its own author calls destructive, allows the rest
    READ_ONLY = "read-only"  # allows what says that it only reads, asks about the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a person has said about one tool."""

    decision: Decision
    paths: tuple[str, ...] = ()  # beneath these only; elsewhere `otherwise`
    arguments: tuple[str, ...] = ()  # that are paths; all that look like one unless said
    commands: tuple[str, ...] = ()  # allowed word for word; any other command is `otherwise`
    ask_commands: tuple[str, ...] = ()  # beginnings of commands: hints, which only narrow
    deny_commands: tuple[str, ...] = ()
    otherwise: Decision = Decision.ASK


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPolicy:
    """What a person has said about one server. None: as for all."""

    default: Default | None = None
    changed: Decision | None = None
    tools: Mapping[str, Rule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides. Its digest is its version."""

    servers: Mapping[str, ServerPolicy] = field(default_factory=dict)
    default: Default = Default.HINTS
    changed: Decision = Decision.ASK  # for a tool that is not any more what it was
    protected: Decision = Decision.ASK  # for writing what other programs obey
    unconfined: Decision = Decision.ASK  # for commands that no sandbox holds
    approve_from: tuple[str, ...] = ("terminal", "gateway")
    roots: tuple[str, ...] = ()  # of the built-in tools; relative paths begin at the first

    def of(self, server: str) -> ServerPolicy:
        return self.servers.get(server, ServerPolicy())

    def changed_of(self, server: str) -> Decision:
        return self.of(server).changed or self.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, as the tool would get it."""

    server: str
    tool: str
    arguments: Mapping[str, Any] = field(repr=False)
    definition: Mapping[str, Any] = field(repr=False)  # as MCP defines tools

    def hint(self, name: str) -> Any:
        annotations = self.definition.get("annotations")
        return annotations.get(name) if isinstance(annotations, Mapping) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A decision, and why in words for a person and a model."""

    decision: Decision
    reason: str


def judge(policy: Policy, call: Call, layer: str) -> Judged:
    """The strictest of all that applies."""
    findings = list(_findings(policy, call, layer))
    return max(findings, key=lambda one: STRICTNESS[one.decision])  # of equals the first


def _findings(policy: Policy, call: Call, layer: str) -> Iterator[Judged]:
    rule = policy.of(call.server).tools.get(call.tool)
    if rule is not None:
        yield from _by_rule(rule, call, policy.roots[:1] if call.server == LOCAL else ())
    elif call.server == LOCAL and policy.of(LOCAL).default is None:
        yield _built_in(call)
    else:
        yield _by_default(policy.of(call.server).default or policy.default, call)
    if twins := _twins(call.arguments):
        yield Judged(
            decision=Decision.DENY if call.server == LOCAL else Decision.ASK,
            reason=f"two of its arguments differ by letters alone: {twins}",
        )
    if call.server == LOCAL:
        yield from _local(policy, call, layer)


def _by_rule(rule: Rule, call: Call, base: Sequence[str]) -> Iterator[Judged]:
    own = f"a rule for {call.server}.{call.tool}"
    yield Judged(decision=rule.decision, reason=f"{own} says so")
    if rule.paths and (odd := paths.outside(call.arguments, rule.paths, rule.arguments, base)):
        yield Judged(decision=rule.otherwise, reason=f"{own} is for other folders: {odd}")
    told, is_text = commands.text_of(call.arguments.get("command"))
    if rule.commands and not commands.is_one_of(told, rule.commands):
        yield Judged(decision=rule.otherwise, reason=f"{own} names other commands")
    for decision, beginnings in (
        (Decision.DENY, rule.deny_commands),
        (Decision.ASK, rule.ask_commands),
    ):
        if beginnings and (found := commands.begins_with(told, beginnings)):
            yield Judged(decision=decision, reason=f"{own} names commands that begin: {found}")
    if (rule.deny_commands or rule.ask_commands) and not (is_text and commands.is_readable(told)):
        reason = f"{own} looks at how commands begin, and this one may run others"
        yield Judged(decision=Decision.ASK, reason=reason)


def _by_default(default: Default, call: Call) -> Judged:
    reads = call.hint("readOnlyHint") is True
    if default is Default.HINTS:
        if not reads and call.hint("destructiveHint") is True:
            reason = f"{call.server} itself says that {call.tool} may destroy something"
            return Judged(decision=Decision.ASK, reason=reason)
        return Judged(decision=Decision.ALLOW, reason="its server is named in the configuration")
    if default is Default.READ_ONLY:
        if reads:
            return Judged(decision=Decision.ALLOW, reason="it says that it only reads")
        return Judged(decision=Decision.ASK, reason="it does not say that it only reads")
    return Judged(decision=Decision(default.value), reason=f"the default for {call.server}")


def _built_in(call: Call) -> Judged:
    if call.tool in READS | WRITES | {BASH}:
        return Judged(decision=Decision.ALLOW, reason="it stays in the folders that are open")
    return Judged(decision=Decision.DENY, reason=f"there is no built-in tool {call.tool}")


def _local(policy: Policy, call: Call, layer: str) -> Iterator[Judged]:
    """What holds for the built-in tools whatever the rules say."""
    base = policy.roots[:1]
    if odd := paths.outside(call.arguments, policy.roots, LOCAL_PATHS, base, may_lack=True):
        reason = f"{odd} lies outside the allowed folders ({', '.join(policy.roots)})"
        yield Judged(decision=Decision.DENY, reason=reason)
    path = call.arguments.get("path")
    if call.tool in WRITES and paths.is_own(path):
        yield Judged(decision=Decision.DENY, reason=OWN)
    elif call.tool in WRITES and (name := paths.protected(path)):
        yield Judged(decision=policy.protected, reason=f"other programs obey {name}")
    if call.tool == BASH and layer not in CONFINING:
        yield Judged(decision=policy.unconfined, reason=UNCONFINED)


def _twins(arguments: Mapping[str, Any]) -> str:
    """Two names that some readers take for one: what is judged must be what is done."""
    seen: dict[str, str] = {}
    for name in arguments:
        plain = unicodedata.normalize("NFKC", name).casefold()
        if plain in seen:
            return f"{seen[plain]!a}, {name!a}"
        seen[plain] = name
    return ""


def strictest(one: Judged, other: Judged) -> Judged:
    return max(one, other, key=lambda judged: STRICTNESS[judged.decision])


# Digests.


def version_of(policy: Policy, layer: str) -> str:
    """The effective policy's. What confines a command is part of what a person has approved."""
    return _digest({"policy": dataclasses.asdict(policy), "layer": layer})


def definition_digest(definition: Mapping[str, Any]) -> str:
    """Of all that a server says about a tool: name, description, schemas, annotations."""
    return _digest(definition)


def digest_of(
    server: str,
    tool: str,
    arguments: Mapping[str, Any],
    definition_digest: str,
    policy_version: str,
) -> str:
    """Of one exact call: an approval of it is an approval of nothing else."""
    return _digest(
        {
            "server": server,
            "tool": tool,
            "arguments": arguments,
            "definition": definition_digest,
            "policy": policy_version,
        }
    )


def _digest(said: Any) -> str:
    """SHA-256 over canonical JSON: keys in order, no spaces, ASCII. Raises ValueError for NaN."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
