"""The organizations' policies as they are now, and a call as they see it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import Subquery
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from accounts import audit, trail
from billing import locking
from mcp.models import McpTool, OrganizationPolicy, PolicyVersion, ToolCall
from mcp.policy import NO_POLICY, Judged, Policy, Rule, digest_of, judge
from mcp.states import Decision

SAVED = "toolpolicy.saved"
MAX_RULES = 200  # each is tried at each call
MOST_KEPT = 100  # policies in a process's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the newest policy says to a call, and the digest of the call under it."""

    judged: Judged
    digest: str


def newest(organization_id: UUID) -> Policy:
    """The policy that counts now."""
    last = last_version(organization_id)
    return NO_POLICY if last is None else of_version(organization_id, last.version)


def newest_version(organization_id: UUID) -> Combinable:
    """Its version, as an expression for a query."""
    saved = PolicyVersion.objects.filter(organization_id=organization_id).order_by("-version")
    return Coalesce(Subquery(saved.values("version")[:1]), NO_POLICY.version)


def of_version(organization_id: UUID, version: int) -> Policy:
    """The policy as it was saved then; 0 before anything was."""
    return NO_POLICY if version == NO_POLICY.version else _saved(organization_id, version)


@lru_cache(MOST_KEPT)
def _saved(organization_id: UUID, version: int) -> Policy:
    """It is read once, for a version stays as it is."""
    saved = PolicyVersion.objects.get(organization_id=organization_id, version=version)
    return Policy(
        version=version,
        otherwise=Decision(saved.otherwise),
        rules=tuple([_rule(rule) for rule in saved.rules]),
    )


def _rule(stored: Mapping[str, Any]) -> Rule:
    said = {**stored, "decision": Decision(stored["decision"]), "values": tuple(stored["values"])}
    return Rule(**said)


def standing(
    policy: Policy, server: str, tool: str, arguments: Mapping[str, Any], definition: str
) -> Standing:
    """How a call of this tool stands under the policy."""
    judged = judge(policy, server=server, tool=tool, arguments=arguments)
    if judged.decision is Decision.ALLOW:
        return Standing(judged=judged, digest="")  # of what nobody is asked about nobody needs one
    digest = digest_of(
        server=server,
        tool=tool,
        arguments=arguments,
        definition=definition,
        version=judged.version,
    )
    return Standing(judged=judged, digest=digest)


def standing_of(call: ToolCall) -> Standing:
    """How a call that is in the queue stands now. Its tool may be another one than it was."""
    tools = McpTool.objects.filter(
        server__connector_id=call.connector_id, server__name=call.server, name=call.tool
    )
    definition = tools.values_list("digest", flat=True).first() or ""
    arguments = msgspec.json.decode(call.params).get("arguments") or {}
    return standing(newest(call.organization_id), call.server, call.tool, arguments, definition)


def last_version(organization_id: UUID) -> PolicyVersion | None:
    """The version that counts."""
    rows = PolicyVersion.objects.filter(organization_id=organization_id)
    return rows.order_by("-version").first()


def save(policy: OrganizationPolicy, *, user_id: int | None, actor: str) -> PolicyVersion | None:
    """Make what stands in the rows the newest version; None where it is the newest already."""
    rules = [asdict(_as_rule(row)) for row in policy.rules.order_by("position", "id")[:MAX_RULES]]
    with transaction.atomic():
        locking.take_turns([f"tool-policy:{policy.organization_id}"])
        last = last_version(policy.organization_id)
        stored = [{**rule, "values": list(rule["values"])} for rule in rules]
        if last and (last.otherwise, last.rules) == (policy.otherwise, stored):
            return None
        number = last.version + 1 if last else 1
        saved = PolicyVersion.objects.create(
            organization_id=policy.organization_id,
            version=number,
            otherwise=policy.otherwise,
            rules=stored,
            saved_by_id=user_id,
        )
        told = {"version": number, "otherwise": policy.otherwise, "rules": len(stored)}
        audit.record(SAVED, trail.subject(policy), actor, policy.organization, told)
    return saved


def _as_rule(row: Any) -> Rule:
    return Rule(
        decision=Decision(row.decision),
        server=row.server,
        tool=row.tool,
        argument=row.argument,
        kind=row.kind,
        values=tuple(line.strip() for line in row.values.splitlines() if line.strip()),
        note=row.note,
    )
