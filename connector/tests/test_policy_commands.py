"""What can be said of a command by reading it (A04)."""

import time
from typing import Any

import pytest

from opscenter_connector.policy import Decision
from tests.judging import ALLOW, ASK, DENY, call, decided, with_rule

HARMFUL = [
    "find . -exec rm {} +",
    "find . -name x -delete",
    "env -S 'rm -rf x'",
    "awk 'BEGIN{system(\"x\")}'",
    "sed -n 1e x",
    "sed 's/x/y/w out' a",
    "xargs rm",
    "git -c alias.x=!touch x",
    "git status; rm x",
    "git status && rm x",
    "git status\nrm x",
    "git status | sh",
    "git status $(rm x)",
    "git status `rm x`",
    "git status > x",
    "git status & rm x",
    "X=1 git status",
    "git status #",
    "git 'status' $'\\n'",
    "git  status  --short",
    "GIT status",
    "git\u00a0status",
    "git statu\u0455",
    "",
]


@pytest.mark.parametrize("command", HARMFUL)
def test_a04_a_command_is_allowed_word_for_word_or_not(command: str) -> None:
    names = ("git status", "find .", "env", "awk", "sed -n", "xargs", "git")
    assert decided(call("run", "shell", command=command), with_rule(commands=names)) is ASK


@pytest.mark.parametrize("command", ["git status", " git\tstatus ", "'git' \"status\""])
def test_it_allows_a_simple_command_however_it_is_quoted(command: str) -> None:
    rules = with_rule(commands=("make test", "git status"))
    assert decided(call("run", "shell", command=command), rules) is ALLOW


@pytest.mark.parametrize("piece", ["a", "a ", "'a'", '"', "'", " ", ";", "=", "git push\n", "$("])
def test_a_command_of_a_megabyte_is_judged_at_once(piece: str) -> None:
    rules = with_rule(commands=("make",), ask_commands=("git push",), deny_commands=("x y",))
    began = time.monotonic()
    one = call("run", "shell", command=piece * (2**20 // len(piece)) + "!")
    assert decided(one, rules) is ASK
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("allowed", ["git status; rm x", "echo $HOME", "A=1 make", ""])
def test_what_is_not_simple_is_never_allowed_by_its_text(allowed: str) -> None:
    assert decided(call("run", "shell", command=allowed), with_rule(commands=(allowed,))) is ASK


@pytest.mark.parametrize(
    ("command", "decision"),
    [
        ("git push origin", DENY),
        ("cd x && git push", DENY),
        ("FOO=1 /usr/bin/git push", DENY),
        ("'git' push", DENY),
        ("rm x", ASK),
        ("make; rm -r x", ASK),
        ("make test", ALLOW),
        ("git status", ALLOW),
        # These may run anything, so nobody knows how it begins.
        *((harmful, ASK) for harmful in HARMFUL[:8]),
        ("git -c alias.x=!true x", ASK),
        ("sh -c x", ASK),
        ("$X push", ASK),
        ("timeout 5 git push", DENY),
        ("g\\it push", DENY),
        ("if rm x; then true; fi", ASK),
        ("while rm x; do true; done", ASK),
        ("! git push", DENY),
        ("git -C . push", DENY),
        ("git --git-dir=x --no-pager push", DENY),
        ("git -c a=b push", DENY),
        ("GIT push", DENY),
        ("env -i /usr/bin/git push", DENY),
        ("find . -exec git push +", DENY),
        ("python3.11 x.py", ASK),
        ("perl5.36 -e x", ASK),
        ("/usr/bin/python3.11 -c x", ASK),
        ("npx x", ASK),
        ("docker run x", ASK),
        ("git\u00a0push", DENY),
        ("make\u00a0test", ASK),
        (["git", "push"], DENY),
        (["git", "status"], ASK),
        (["/bin/rm", 7, "x"], ASK),
        ({"git": "push"}, ASK),
        (None, ASK),
        (7, ASK),
    ],
)
def test_how_a_command_begins_only_makes_it_stricter(command: Any, decision: Decision) -> None:
    rules = with_rule(deny_commands=("git push",), ask_commands=("rm",))
    assert decided(call("run", "shell", command=command), rules) is decision
    denied = with_rule(decision=DENY, ask_commands=("make",))
    assert decided(call("run", "shell", command="make"), denied) is DENY
