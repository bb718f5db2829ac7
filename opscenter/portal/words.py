"""Scopes, spans and states in plain words (pure)."""

from datetime import timedelta

from accounts.principal import APPROVE, CALLBACK, KEYS_WRITE, MESSAGES, USAGE_READ

# What each scope is called, and what somebody who holds such a key can do.
SCOPES = {
    MESSAGES: ("Use models", "Ask models and agents. Claude Code and the SDKs need this."),
    CALLBACK: ("Connect a machine", "Offer a machine's tools, and let agents use them."),
    USAGE_READ: ("Read usage", "See what was used and what it cost."),
    KEYS_WRITE: ("Manage keys", "List, make, rotate and revoke your keys."),
    APPROVE: (
        "Approve tool calls",
        "Say yes in your name. Never give it to a machine on which an agent works.",
    ),
}

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def scope(name: str) -> str:
    """A scope as people call it."""
    return SCOPES[name][0] if name in SCOPES else name


def span(length: timedelta) -> str:
    """In whole units of the largest of which there is one, by the nearest minute."""
    seconds = 60 * round(length.total_seconds() / 60)
    for unit, size in _UNITS:
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "less than a minute"


def ago(length: timedelta) -> str:
    """The same, of the past."""
    return "just now" if length < timedelta(minutes=1) else f"{span(length)} ago"
