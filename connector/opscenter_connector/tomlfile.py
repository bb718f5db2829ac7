"""Reads connector.toml: an unknown key or a wrong type is an error that names its line."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from opscenter_connector.mistakes import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_FILE_BYTES = 1024 * 1024  # whoever has more than this has named the wrong file


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a key may hold."""

    said: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


TEXT = Kind(said="a text in quotes", fits=_is_text)
TEXTS = Kind(
    said="a list of texts in quotes",
    fits=lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
)
TEXT_TABLE = Kind(
    said='texts by name, like { NAME = "value" }',
    fits=lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
)
WHO = Kind(
    said="a number or a text in quotes",
    fits=lambda value: _is_text(value) or (type(value) is int and value > 0),
)
TABLE = Kind(said="a table", fits=lambda value: isinstance(value, dict))
WORD = {
    "transport": Kind(
        said='"auto", "websocket" or "polling"',
        fits=lambda value: value in {"auto", "websocket", "polling"},
    ),
    "log_format": Kind(
        said='"text" or "json"',
        fits=lambda value: value in {"text", "json"},
    ),
    "log_level": Kind(
        said='"debug", "info", "warning" or "error"',
        fits=lambda value: value in {"debug", "info", "warning", "error"},
    ),
}
YES_NO = Kind(said="true or false", fits=lambda value: type(value) is bool)
AT_ONCE = Kind(
    said="a whole number from 1 to 16",
    fits=lambda value: type(value) is int and 1 <= value <= 16,
)

NUMBER = Kind(
    said="a number above 0",
    fits=lambda value: type(value) in {int, float} and value > 0,
)

KEYS = {
    "api_url": TEXT,
    "user_id": WHO,
    "api_key_file": TEXT,
    "name": TEXT,
    "max_in_flight": AT_ONCE,
    "allowed_paths": TEXTS,
    "mcp_config": TEXT,
    "state_dir": TEXT,
    "ca_file": TEXT,
    "allow_http": YES_NO,
    "servers": TABLE,
    "local": TABLE,
    "policy": TABLE,  # policing/reading.py knows what stands in it
    **WORD,
}
LAYER = Kind(
    said='"bubblewrap", "landlock" or "seatbelt"',
    fits=lambda value: value in {"bubblewrap", "landlock", "seatbelt"},
)
LOCAL_KEYS = {
    "allowed_paths": TEXTS,
    "call_limit_s": NUMBER,
    "read_only": YES_NO,
    "sandbox": Kind(
        said='"auto", "bubblewrap", "landlock", "seatbelt" or "none"',
        fits=lambda value: value in {"auto", "none"} or LAYER.fits(value),
    ),
    "sandbox_at_least": LAYER,
}
SERVER_KEYS = {
    "command": TEXT,
    "args": TEXTS,
    "env": TEXT_TABLE,
    "cwd": TEXT,
    "url": TEXT,
    "headers": TEXT_TABLE,
    "start_timeout_s": NUMBER,
    "call_limit_s": NUMBER,
}
# What people write who know other programs, and what they should do here.
INSTEAD = {
    "api_key": "a key does not belong in this file; put it into a file of its own, mode 0600, "
    "and name that: api_key_file",
    "mcpServers": "tables are called [servers.NAME] here; a .mcp.json is read with mcp_config",
}


def read(path: Path) -> dict[str, Any]:
    """What stands in the file at `path`, with keys and types checked."""
    text = text_of(path)
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    check(found, KEYS, Place(path, text, ()))
    check(found.get("local", {}), LOCAL_KEYS, Place(path, text, ("local",)))
    servers = found.get("servers", {})
    for name, server in servers.items():
        at = Place(path, text, ("servers", name))
        if not isinstance(server, dict):
            raise at.wrong(f"[servers.{name}] must be a table")
        check(server, SERVER_KEYS, at)
    return found


def text_of(path: Path) -> str:
    """The text of a configuration file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB: it is no configuration")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}") from None


@dataclass(frozen=True)
class Place:
    """A table in the file."""

    path: Path
    text: str
    table: tuple[str, ...]

    def wrong(self, reason: str, key: str = "") -> ConfigError:
        """The error, with the line where `key` or the table itself stands."""
        line = _line_of(self.text, (*self.table, key) if key else self.table)
        return ConfigError(f"{self.path}{f', line {line}' if line else ''}: {reason}")


def check(found: Mapping[str, Any], keys: Mapping[str, Kind], place: Place) -> None:
    """Each key is known and holds what it may."""
    for key, value in found.items():
        if key not in keys:
            raise place.wrong(f"{key!r} is not a key here{_advice(key, keys)}", key)
        if not keys[key].fits(value):
            raise place.wrong(f"{key} must be {keys[key].said}, not {_shown(value)}", key)


def _advice(key: str, keys: Mapping[str, Kind]) -> str:
    if key in INSTEAD:
        return f": {INSTEAD[key]}"
    near = get_close_matches(key, keys, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    elsewhere = "at the top of the file" if keys is SERVER_KEYS else "in [servers.NAME]"
    if key in (KEYS if keys is SERVER_KEYS else SERVER_KEYS):
        return f"; it belongs {elsewhere}"
    return f"; there are {', '.join(sorted(keys))}"


def _shown(value: Any) -> str:
    """A short form of `value`; what is inside tables and lists may be secret, its kind is not."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


_HEADER = re.compile(r"^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _line_of(text: str, wanted: tuple[str, ...]) -> int | None:
    """The line that says `wanted`. The parser keeps none, so this reads the file once more.

    It is a guess (a text over several lines may look like a key), good for finding the place.
    """
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = here = _parts(header[1])
        elif key := _KEY.match(line):
            here = (*table, *_parts(key[1]))
        else:
            continue
        if here[: len(wanted)] == wanted:
            return number
    return None
