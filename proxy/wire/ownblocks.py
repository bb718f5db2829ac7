"""The blocks of tools that the gateway runs: how they are named, and known again as ours (pure)."""

import hashlib
import re
from collections.abc import Collection
from typing import Any

import msgspec

from proxy.wire import signature

# An upstream's `toolu_1` is `mcptoolu_T3BzQ2VudGVy_toolu_1` to the client, which sends it back. The
# same mark as in our signatures, so that one search of a body finds both.
PREFIX = f"mcptoolu_{signature.MARK}_"
MARK = PREFIX.encode()
NAME_CHARS = 64  # of a tool's name at every upstream that we know
LINE_CHARS = 160  # of what a person is shown of a call; all of it is in the block behind
_HASH_CHARS = 8
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_encoded = msgspec.json.Encoder(order="deterministic").encode


def own_id(upstream_id: str) -> str:
    """The id of our block for an upstream's tool call."""
    return PREFIX + upstream_id


def upstream_id(block_id: object) -> str:
    """The upstream's id for a block of ours; empty where it is none of ours."""
    if not isinstance(block_id, str) or not block_id.startswith(PREFIX):
        return ""
    return block_id.removeprefix(PREFIX)


def composed_name(server: str, tool: str, taken: Collection[str] = ()) -> str:
    """The name under which a model knows a server's tool, as upstreams allow one.

    What does not fit, or is `taken`, ends in a hash of the whole name: the same each time.
    """
    plain = f"{server}_{tool}"
    fit = _UNFIT.sub("_", plain)
    if fit == plain and len(fit) <= NAME_CHARS and fit not in taken:
        return fit
    digest = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:_HASH_CHARS]
    return f"{fit[: NAME_CHARS - _HASH_CHARS - 1]}_{digest}"


def line_of(server: str, tool: str, given: Any) -> str:
    """What a person is told of a call. By it the line is known again when it comes back."""
    arguments = _encoded(given).decode() if given else ""
    named = f"[{server}] {tool}" if server else tool  # a tool that nobody has is on no server
    line = f"{named} {arguments}".rstrip()
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"


def short_id(call_id: str, most: int) -> str:
    """The id, or a hash of it where it is too long."""
    return call_id if len(call_id) <= most else hashlib.sha256(call_id.encode()).hexdigest()[:most]
