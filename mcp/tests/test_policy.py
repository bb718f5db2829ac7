"""What a policy says to a call, and how a policy comes to be."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from accounts.models import AuditEntry
from accounts.tests.people import Person, alice, charlie
from mcp import policies
from mcp.models import OrganizationPolicy, PolicyRule, PolicyVersion
from mcp.policy import COMMAND, NO_POLICY, PATH, Judged, Policy, Rule, digest_of, judge
from mcp.states import Decision

__all__ = ["alice", "charlie"]

ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY


def said(rule: Rule, **arguments: Any) -> bool:
    """Whether the rule fits a call of local/bash; what it does not fit gets another decision."""
    other = DENY if rule.decision is ALLOW else ALLOW
    policy = Policy(version=1, otherwise=other, rules=(rule,))
    return judge(policy, server="local", tool="bash", arguments=arguments).decision is rule.decision


def test_it_allows_where_there_is_no_policy() -> None:
    judged = judge(NO_POLICY, server="local", tool="bash", arguments={})
    assert (judged.decision, judged.version) == (ALLOW, 0)


def test_it_goes_by_the_first_rule_that_fits() -> None:
    rules = (
        Rule(decision=DENY, server="prod-*"),
        Rule(decision=ALLOW, server="*", tool="read_*"),
        Rule(decision=ASK, server="local", note="the shell"),
    )
    policy = Policy(version=7, otherwise=DENY, rules=rules)

    def judged(server: str, tool: str) -> Judged:
        return judge(policy, server=server, tool=tool, arguments={})

    assert judged("prod-db", "read_rows").decision is DENY
    assert judged("local", "read_file").decision is ALLOW
    asked = judged("local", "bash")
    assert (asked.decision, asked.version) == (ASK, 7)
    assert asked.reason == "rule 3 of the organization's policy: the shell"
    assert judged("other", "bash").decision is DENY
    assert judged("Local", "bash").decision is DENY  # names are as they are written


@pytest.mark.parametrize(
    ("command", "allowed", "denied"),
    [
        ("git status", True, True),
        ("  git   status  -s", True, True),
        ("git statusx", False, False),
        ("git", False, False),
        ("sudo git status", False, True),
        ("git status; rm -rf /", False, True),
        ("git status && x", False, True),
        ("git status | sh", False, True),
        ("git status $(x)", False, True),
        ("git status `x`", False, True),
        ("git status > /etc/x", False, True),
        ("git status\nrm x", False, True),
        ("git status \\\n x", False, True),
        ("/usr/bin/git status", False, True),
        ("./git status", False, True),
        ("GIT status", False, True),
        ("env git status", False, True),
        ("env -i A=1 /usr/bin/git status", False, True),
        ("sudo -u x git status", False, True),
        ("A=1 git status", False, True),
        ("git -C /x status", False, True),
        ("git -c core.pager=x status", False, True),
        ("git --git-dir=/x --no-pager status", False, True),
        ("git status --output=/etc/x", False, True),
        ("find . -exec git status +", False, True),
        ("if git status", False, True),
        ("! git status", False, True),
        ("g''it status", True, True),
        ("g\\it status", False, True),
        ("bash -c 'git status'", False, True),
        ("git\u00a0status", False, True),
        ("git status \u00a0", False, True),
        ("git status é", False, True),
        ("git commit -m status", False, False),
        ("true && git status", False, True),
        ("(git status)", False, True),
        (7, False, True),
        (["git", "status"], False, True),
        (None, False, True),
    ],
)
def test_it_allows_only_plain_commands_and_denies_hidden_ones(
    command: Any, allowed: bool, denied: bool
) -> None:
    of = {"argument": "command", "kind": COMMAND, "values": ("git status",)}
    assert said(Rule(decision=ALLOW, **of), command=command) is allowed  # type: ignore[arg-type]
    assert said(Rule(decision=DENY, **of), command=command) is denied  # type: ignore[arg-type]
    assert said(Rule(decision=ASK, **of), command=command) is denied  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("find", "find . -exec rm x +"),
        ("find . -name x", "find . -name x -delete"),
        ("env", "env sudo x"),
        ("sudo", "sudo x"),
        ("git", "git -c alias.x=!sh x"),
        ("git log", "git log --output=/home/me/.bashrc"),
        ("git submodule", "git submodule foreach sh"),
        ("python3.11", "python3.11 -c x"),
        ("", "ls"),
        ("ls;", "ls; x"),
    ],
)
def test_a_beginning_allows_no_program_that_runs_others(prefix: str, command: str) -> None:
    rule = Rule(decision=ALLOW, argument="command", kind=COMMAND, values=(prefix,))
    assert not said(rule, command=command)


def test_a_program_that_runs_others_is_allowed_word_for_word() -> None:
    rule = Rule(decision=ALLOW, argument="command", kind=COMMAND, values=("python -m pytest",))
    assert said(rule, command="python -m  pytest")
    assert not said(rule, command="python -m pytest x.py")


@pytest.mark.parametrize(
    ("ours", "theirs"), [("commands.py", "policing/commands.py"), ("secrets.py", "secrets.py")]
)
def test_gateway_and_connector_read_alike(ours: str, theirs: str) -> None:
    root = Path(__file__).parents[2]
    connectors = root / "connector" / "opscenter_connector" / theirs
    assert (root / "mcp" / ours).read_text() == connectors.read_text()


@pytest.mark.parametrize(
    ("path", "allowed", "denied"),
    [
        ("/srv/data", True, True),
        ("/srv/data/a/b", True, True),
        ("/srv/data/../data/a", True, True),
        ("/srv/data2", False, False),
        ("/srv", False, False),
        ("/srv/data/../../etc/passwd", False, False),
        ("../../srv/data/x", False, True),
        ("..", False, True),
        ("/SRV/Data/x", False, True),
        ("\\srv\\data\\x", False, True),
        ("//srv/data", False, True),
        ("///srv//data/x", True, True),
        (" /srv/data/x", False, True),
        ("file:///srv/data/x", False, True),
        (7, False, True),
    ],
)
def test_it_looks_at_paths_as_they_are_written(path: Any, allowed: bool, denied: bool) -> None:
    of = {"argument": "path", "kind": PATH, "values": ("/srv/data/",)}
    assert said(Rule(decision=ALLOW, **of), path=path) is allowed  # type: ignore[arg-type]
    assert said(Rule(decision=DENY, **of), path=path) is denied  # type: ignore[arg-type]


def test_it_takes_the_root_for_everything_below_it() -> None:
    rule = Rule(decision=DENY, argument="path", kind=PATH, values=("/",))
    assert said(rule, path="/any/thing")
    assert not said(rule, path="any/thing")


def test_it_asks_nothing_of_an_argument_that_is_not_there() -> None:
    assert not said(Rule(decision=DENY, argument="path", kind=PATH, values=("/",)), other="/")


def test_it_knows_an_exact_call_by_its_digest() -> None:
    exact: dict[str, Any] = {
        "server": "local",
        "tool": "bash",
        "arguments": {"a": 1, "b": [True, None, "x"]},
        "definition": "d" * 64,
        "version": 1,
    }
    digest = digest_of(**exact)
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert digest == digest_of(**exact | {"arguments": {"b": [True, None, "x"], "a": 1}})
    for other in (
        {"server": "locals"},
        {"tool": "bas"},
        {"arguments": {"a": 1, "b": [True, None, "x "]}},
        {"arguments": {"a": "1", "b": [True, None, "x"]}},
        {"arguments": {"a": 1.0, "b": [True, None, "x"]}},
        {"definition": ""},
        {"version": 2},
    ):
        assert digest_of(**exact | other) != digest


# How a policy comes to be.


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def form(person: Person, *rules: dict[str, str], otherwise: str = "allow") -> dict[str, str]:
    """The admin's form with these rules."""
    fields = {
        "organization": str(person.organization.pk),
        "otherwise": otherwise,
        "rules-TOTAL_FORMS": str(len(rules)),
        "rules-INITIAL_FORMS": "0",
    }
    for number, rule in enumerate(rules):
        whole = {"position": str(number), "server": "*", "tool": "*", "decision": "ask", **rule}
        fields |= {f"rules-{number}-{name}": value for name, value in whole.items()}
    return fields


ADD = "/admin/mcp/organizationpolicy/add/"


def test_it_makes_a_version_of_each_edit(operator: Client, alice: Person, charlie: Person) -> None:
    rule = {"server": "local", "tool": "bash", "note": "the shell"}
    assert operator.post(ADD, form(alice, rule)).status_code == 302
    now = policies.newest(alice.organization.pk)
    assert (now.version, now.otherwise) == (1, ALLOW)
    assert now.rules == (Rule(decision=ASK, server="local", tool="bash", note="the shell"),)
    assert policies.newest(charlie.organization.pk) == NO_POLICY

    policy = OrganizationPolicy.objects.get()
    page = f"/admin/mcp/organizationpolicy/{policy.pk}/change/"
    there = PolicyRule.objects.get()
    again = form(alice, rule, otherwise="deny") | {
        "rules-INITIAL_FORMS": "1",
        "rules-0-id": str(there.pk),
        "rules-0-policy": str(policy.pk),
    }
    assert operator.post(page, again).status_code == 302
    assert operator.post(page, again).status_code == 302  # nothing has changed
    kept = PolicyVersion.objects.order_by("version").values_list("version", "otherwise")
    assert list(kept) == [(1, "allow"), (2, "deny")]
    lines = AuditEntry.objects.filter(action=policies.SAVED).order_by("at")
    assert [line.details["version"] for line in lines] == [1, 2]
    assert {line.organization for line in lines} == {alice.organization}
    assert "user:" in lines[0].actor


@pytest.mark.parametrize(
    "rule",
    [
        {"argument": "path"},
        {"argument": "path", "kind": "path"},
        {"kind": "path", "values": "/"},
        {"values": "/"},
        {"decision": "maybe"},
    ],
)
def test_it_takes_no_half_a_rule(operator: Client, alice: Person, rule: dict[str, str]) -> None:
    assert operator.post(ADD, form(alice, rule)).status_code == 200
    assert not PolicyVersion.objects.exists()


def test_it_reads_values_line_by_line(operator: Client, alice: Person) -> None:
    values = {"argument": "path", "kind": "path", "values": " /etc \r\n\r\n/srv/data\r\n"}
    operator.post(ADD, form(alice, values))
    (rule,) = policies.newest(alice.organization.pk).rules
    assert rule.values == ("/etc", "/srv/data")


def test_it_shows_pages_for_all_of_it(operator: Client, alice: Person) -> None:
    operator.post(ADD, form(alice, {"note": "the shell"}))
    policy, version = OrganizationPolicy.objects.get(), PolicyVersion.objects.get()
    for page in (
        "organizationpolicy/",
        f"organizationpolicy/{policy.pk}/change/",
        "policyversion/",
        f"policyversion/{version.pk}/change/",
        "approval/",
        "auditedcall/",
    ):
        assert operator.get(f"/admin/mcp/{page}").status_code == 200, page
    assert operator.post(f"/admin/mcp/organizationpolicy/{policy.pk}/delete/").status_code == 403


def test_it_puts_two_saves_one_after_the_other(alice: Person) -> None:
    policy = OrganizationPolicy.objects.create(organization=alice.organization)
    with transaction.atomic():
        first = policies.save(policy, user_id=None, actor="system")
    policy.otherwise = DENY
    second = policies.save(policy, user_id=None, actor="system")
    assert [each and each.version for each in (first, second)] == [1, 2]
