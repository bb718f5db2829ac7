"""Reads `[policy]` of connector.toml. A word that is not known is an error: nothing is guessed."""

import os.path
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from opscenter_connector.mistakes import ConfigError
from opscenter_connector.policy import LOCAL, Decision, Default, Policy, Rule, ServerPolicy
from opscenter_connector.tomlfile import TABLE, TEXTS, Kind, Place, check

PLACES = ("terminal", "gateway")  # where a person may approve


def _one_of(kind: type[Enum], *without: Enum) -> Kind:
    words = [one.value for one in kind if one not in without]
    said = f'{", ".join(map(_quoted, words[:-1]))} or "{words[-1]}"'
    return Kind(said=said, fits=lambda value: value in words)


def _quoted(word: str) -> str:
    return f'"{word}"'


def _are_places(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(one in PLACES for one in value)


DECISION = _one_of(Decision)
DEFAULT = _one_of(Default)
RULE = Kind(
    said=f"{DECISION.said}, or a table with a decision",
    fits=lambda value: DECISION.fits(value) or isinstance(value, dict),
)
KEYS = {
    "default": DEFAULT,
    "changed": DECISION,
    "protected": DECISION,
    "unconfined": _one_of(Decision, Decision.ALLOW),
    "approve_from": Kind(said='["terminal", "gateway"] or one of them', fits=_are_places),
    "servers": TABLE,
}
SERVER_KEYS = {"default": DEFAULT, "changed": DECISION, "tools": TABLE}
RULE_KEYS = {
    "decision": DECISION,
    "otherwise": _one_of(Decision, Decision.ALLOW),
    "paths": TEXTS,
    "arguments": TEXTS,
    "commands": TEXTS,
    "ask_commands": TEXTS,
    "deny_commands": TEXTS,
}


def read(found: Mapping[str, Any], place: Place, servers: Iterable[str]) -> Policy:
    """The policy that the table says. `place` is the table, `servers` are those there are."""
    check(found, KEYS, place)
    known = {*servers, LOCAL}
    for name in found.get("servers", {}):
        if name not in known:
            raise _at(place, "servers").wrong(_unknown(name, known), name)
    return Policy(
        servers={
            name: _server(said, _at(place, "servers", name))
            for name, said in found.get("servers", {}).items()
        },
        default=Default(found.get("default", Default.HINTS)),
        changed=Decision(found.get("changed", Decision.ASK)),
        protected=Decision(found.get("protected", Decision.ASK)),
        unconfined=Decision(found.get("unconfined", Decision.ASK)),
        approve_from=tuple(one for one in PLACES if one in found.get("approve_from", PLACES)),
    )


def _at(place: Place, *below: str) -> Place:
    return Place(place.path, place.text, (*place.table, *below))


def _unknown(name: str, known: set[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    meant = f"; is it {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
    return f"there is no server {name!r}, so its rules would hold for nothing{meant}"


def _server(said: Any, place: Place) -> ServerPolicy:
    if not isinstance(said, dict):
        raise place.wrong(f"[{'.'.join(place.table)}] must be a table")
    check(said, SERVER_KEYS, place)
    return ServerPolicy(
        default=Default(said["default"]) if "default" in said else None,
        changed=Decision(said["changed"]) if "changed" in said else None,
        tools={
            name: _rule(name, rule, _at(place, "tools"))
            for name, rule in said.get("tools", {}).items()
        },
    )


def _rule(name: str, said: Any, place: Place) -> Rule:
    if not RULE.fits(said):
        raise place.wrong(f"{name} must be {RULE.said}, not {said!r:.60}", name)
    if isinstance(said, str):
        return Rule(decision=Decision(said))
    at = _at(place, name)
    check(said, RULE_KEYS, at)
    if "decision" not in said:
        raise place.wrong(f'{name} lacks a decision: decision = "allow", "ask" or "deny"', name)
    if "arguments" in said and "paths" not in said:
        raise place.wrong(f"{name} has arguments, which say where paths are, and no paths", name)
    return Rule(
        decision=Decision(said["decision"]),
        otherwise=Decision(said.get("otherwise", Decision.ASK)),
        paths=tuple(_folder(text, place.path.parent) for text in said.get("paths", ())),
        arguments=tuple(said.get("arguments", ())),
        commands=tuple(said.get("commands", ())),
        ask_commands=tuple(said.get("ask_commands", ())),
        deny_commands=tuple(said.get("deny_commands", ())),
    )


def _folder(text: str, folder: Path) -> str:
    return os.path.normpath(folder / Path(text).expanduser())


def only_narrows(found: Mapping[str, Any], place: Place) -> None:
    """Raises ConfigError where the table allows something.

    For a file that counts because one stands beside it: a project that somebody sent must not
    say what agents may do on this machine.
    """
    if any(text == Decision.ALLOW for text in _words(found)):
        raise ConfigError(
            f"{place.path} allows something in [policy], and it was found because you stand "
            f"beside it; if it is yours, say so: --config {place.path}"
        )


def _words(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from _words(value)
