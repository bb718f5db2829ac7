"""Toolsets as an operator writes them down, read strictly (pure)."""

import re
from collections.abc import Mapping
from typing import Any

from proxy.agents import Toolset

MOST = 10  # servers of one agent; their tools' schemas are part of every request
MOST_TOOLS = 200  # in one list
URL_CHARS = 500
EXAMPLE = '[{"url": "tunnel://laptop/files", "allow": ["read_file"]}]'

# The API's own bound for names of tools and servers; a tool's name joins both.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL = re.compile(r"[\x21-\x7e]{1,128}")
_TUNNEL = re.compile(r"tunnel://(?:([A-Za-z0-9._-]{1,64})/)?([A-Za-z0-9._-]{1,64})")
_HTTPS = re.compile(r"https://[^\s/@?#\\]+(?:/[\x21\x22\x24-\x3e\x40-\x7e]*)?")
_MEMBERS = ("url", "name", "allow", "deny")


class BadToolsetError(ValueError):
    """These are no toolsets. The text says what is wrong, and where."""


def toolsets(value: Any) -> tuple[Toolset, ...]:
    """The toolsets in a JSON value. Raises BadToolsetError."""
    if not isinstance(value, list):
        raise BadToolsetError(f"Write a JSON list of toolsets, for example {EXAMPLE}")
    if len(value) > MOST:
        raise BadToolsetError(f"At most {MOST} toolsets, these are {len(value)}.")
    found = tuple(_toolset(one, f"Toolset {number}") for number, one in enumerate(value, 1))
    for number, toolset in enumerate(found):
        if toolset.name in {earlier.name for earlier in found[:number]}:
            raise BadToolsetError(
                f"Toolset {number + 1}: another one is called {toolset.name!r} already;"
                ' give it a "name" of its own.'
            )
    return found


def _toolset(value: Any, at: str) -> Toolset:
    if not isinstance(value, Mapping):
        raise BadToolsetError(f'{at}: an object with "url" is needed, for example {EXAMPLE}')
    if unknown := set(value) - set(_MEMBERS):
        known = ", ".join(_MEMBERS)
        raise BadToolsetError(f"{at}: there is no {min(unknown)[:50]!r}; there are {known}.")
    url = value.get("url")
    if not isinstance(url, str) or len(url) > URL_CHARS:
        raise BadToolsetError(f'{at}: "url" must be a text of at most {URL_CHARS} characters.')
    name = value.get("name", _name_in(url, at))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadToolsetError(
            f'{at}: "name" must be 1 to 64 letters, digits, - or _ (it becomes part of tool names).'
        )
    allow, deny = (_tools(value.get(which, []), f'{at}: "{which}"') for which in ("allow", "deny"))
    if allow and not set(allow) - set(deny):
        raise BadToolsetError(f"{at}: everything it allows it denies as well; no tool is left.")
    return Toolset(url=url, name=name, allow=allow, deny=deny)


def _name_in(url: str, at: str) -> str:
    """The name of a server whose URL says it; also checks the URL."""
    tunnel = _TUNNEL.fullmatch(url)
    if tunnel:
        return tunnel[2].replace(".", "_")
    if not _HTTPS.fullmatch(url):
        raise BadToolsetError(
            f"{at}: {url[:100]!r} is no server; write tunnel://connector/server, tunnel://server"
            " or https://host/path (without user, password or #)."
        )
    return re.sub(r"[^A-Za-z0-9_-]", "_", url.split("/")[2])[:64]


def _tools(value: Any, at: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise BadToolsetError(f"{at} must be a list of at most {MOST_TOOLS} names of tools.")
    for tool in value:
        if not isinstance(tool, str) or not _TOOL.fullmatch(tool):
            raise BadToolsetError(f"{at} holds {str(tool)[:50]!r}, which is no name of a tool.")
    return tuple(dict.fromkeys(value))
