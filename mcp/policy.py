"""What an organization's policy says to a call, and by what an exact call is known (pure).

Arguments are words, and words can be written in many ways: rules on them are hints that save people
questions. What a tool can reach is bounded on the machine. So a rule that allows fits only what is
plain, and one that does not fits whatever could be meant.
"""

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from mcp import commands
from mcp.states import Decision

PATH, COMMAND = "path", "command"  # kinds of rules on an argument
_SLASHES = re.compile(r"/+")  # two at the beginning are one, but not to normpath


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `server` and `tool` are names, in which * stands for anything."""

    decision: Decision
    server: str = "*"
    tool: str = "*"
    argument: str = ""  # its name; "" where any call of the tool is meant
    kind: str = ""
    values: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in their order. The first that fits decides."""

    version: int = 0
    otherwise: Decision = Decision.ALLOW
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the policy says, why, and which version of it."""

    decision: Decision
    reason: str
    version: int


NO_POLICY = Policy()


def judge(policy: Policy, *, server: str, tool: str, arguments: Mapping[str, Any]) -> Judged:
    """What the policy says to this call."""
    for number, rule in enumerate(policy.rules, 1):
        if _is_meant(rule, server, tool) and _fits(rule, arguments):
            said = f": {rule.note}" if rule.note else ""
            reason = f"rule {number} of the organization's policy{said}"
            return Judged(decision=rule.decision, reason=reason, version=policy.version)
    reason = "the organization's policy, where no rule fits"
    return Judged(decision=policy.otherwise, reason=reason, version=policy.version)


def digest_of(
    *, server: str, tool: str, arguments: Mapping[str, Any], definition: str, version: int
) -> str:
    """Of this exact call of this very tool under this version of the policy."""
    exact = {
        "server": server,
        "tool": tool,
        "arguments": arguments,
        "definition": definition,
        "policy": version,
    }
    return hashlib.sha256(msgspec.json.encode(exact, order="deterministic")).hexdigest()


def _is_meant(rule: Rule, server: str, tool: str) -> bool:
    return fnmatchcase(server, rule.server) and fnmatchcase(tool, rule.tool)


def _fits(rule: Rule, arguments: Mapping[str, Any]) -> bool:
    if not rule.argument:
        return True
    if rule.argument not in arguments:
        return False
    value, is_strict = arguments[rule.argument], rule.decision is not Decision.ALLOW
    if not isinstance(value, str):
        return is_strict  # nobody can say what it means
    if rule.kind == PATH:
        return _is_below(value, rule.values, is_strict)
    return _begins(value, rule.values, is_strict)


def _is_below(path: str, roots: Sequence[str], is_strict: bool) -> bool:
    if is_strict:  # as whoever sees no difference between Windows, macOS and Linux
        path, roots = path.replace("\\", "/").casefold(), [root.casefold() for root in roots]
        path = _SLASHES.sub("/", path.strip().removeprefix("file:"))
    found = posixpath.normpath(path)
    if found == ".." or found.startswith("../"):
        return is_strict  # it climbs out of where it begins, which we do not know
    normal = [posixpath.normpath(root) for root in roots]
    return any((root == "/" and found.startswith("/")) or _is_in(found, root) for root in normal)


def _is_in(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _begins(command: str, prefixes: Sequence[str], is_strict: bool) -> bool:
    if is_strict:
        return bool(commands.begins_with(command, prefixes))
    return commands.plainly_begins_with(command, prefixes)
