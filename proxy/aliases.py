"""Which of Brigade's agents a name of ours means, by a table that operators edit."""

import re
from collections.abc import Mapping
from typing import Any

GENERAL = "the-general"  # orchestrates the others: who knows best what to do with anything
ANY = "*"  # in the table: what is in it under no other name

# Brigade's own agents, and those of ours that it has under other names.
AGENTS = frozenset(
    {
        GENERAL,
        "col-finance",
        "cpt-fullstack",
        "detective-holmes",
        "doc-medresearch",
        "gunny",
        "judge-advocate",
        "lt-docanalyst",
        "maj-devops",
        "prof-datasci",
        "sgt-scribe",
    }
)
DEFAULTS: Mapping[str, str] = {
    "code_writer": "cpt-fullstack",
    "code_reviewer": "cpt-fullstack",
    "debugger": "cpt-fullstack",
    "tester": "cpt-fullstack",
    "architect": "maj-devops",
    "security_auditor": "maj-devops",
    "documentation_writer": "sgt-scribe",
    ANY: GENERAL,
}

MOST = 200  # more is no table that a person keeps
NAME_CHARS = 256  # the longest model name there is
_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # it becomes a part of a path
_PREFIXES = ("claude-agent-", "agent-", "brigade-")  # what our agents are called as models


def agent_of(name: str, aliases: Mapping[str, str]) -> str:
    """The agent that `name` means: the operator's word first, then Brigade's own names and ours.

    Our agents are found under their names as models too, with dashes or underscores.
    """
    known = {**DEFAULTS, **aliases}
    short = next((name.removeprefix(p) for p in _PREFIXES if name.startswith(p)), name)
    for one in (name, short, short.replace("-", "_")):
        if one in known and one != ANY:
            return known[one]
    return short if short in AGENTS else known[ANY]


def problem(value: Any) -> str:
    """Why `value` is no table of aliases; empty where it is one."""
    if not isinstance(value, Mapping) or len(value) > MOST:
        return f'Enter at most {MOST} aliases as a JSON object: {{"code_writer": "cpt-fullstack"}}'
    for name, agent in value.items():
        if not 0 < len(name) <= NAME_CHARS or not name.isprintable():
            return f"{name[:100]!r} is no name of a model or an agent."
        if not isinstance(agent, str) or not _AGENT.fullmatch(agent):
            return f"{name[:100]}: an agent's id has letters, digits, dashes and underscores."
    return ""
