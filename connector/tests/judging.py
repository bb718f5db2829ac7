"""Calls and rules for the tests of policy."""

from typing import Any

from opscenter_connector.policy import Call, Decision, Policy, Rule, ServerPolicy, judge

ROOTS = ("/home/me/src", "/data")
POLICY = Policy(roots=ROOTS)
ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY


def call(
    tool: str, server: str = "local", hints: dict[str, Any] | None = None, **said: Any
) -> Call:
    definition = {"name": tool, "annotations": hints} if hints is not None else {"name": tool}
    return Call(server=server, tool=tool, arguments=said, definition=definition)


def decided(one: Call, rules: Policy = POLICY, layer: str = "bubblewrap") -> Decision:
    return judge(rules, one, layer).decision


def with_rule(server: str = "shell", tool: str = "run", **said: Any) -> Policy:
    rule = Rule(**{"decision": ALLOW} | said)
    return Policy(roots=ROOTS, servers={server: ServerPolicy(tools={tool: rule})})
