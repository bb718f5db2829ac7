"""Servers that one request names by their address: registered for a while, then forgotten.

So they are asked through the same queue, under the same policy and in the same audit as all others.
"""

import hashlib
import re
from urllib.parse import urlsplit

from accounts.principal import Principal
from mcp import direct, direct_rows
from mcp.threads import off_loop

HOST_CHARS = 40  # of the name's 64; it is what a policy can go by: web-mcp.example.com-*
_HASH_CHARS = 16


def name_of(url: str, credential: str) -> str:
    """The name of the server behind an address, for whoever shows this credential."""
    host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).hostname or "")[:HOST_CHARS]
    digest = hashlib.sha256(f"{url}\0{credential}".encode()).hexdigest()[:_HASH_CHARS]
    return f"{direct_rows.VISITED}{host}-{digest}"


async def visited(principal: Principal, url: str, credential: str) -> str:
    """Its name, once its tools are known. Raises direct.NotRegisteredError and
    accounts.reads.DatabaseAwayError."""
    name = name_of(url, credential)
    if not await _is_fresh(principal, name):
        await direct.register(principal, name, url, credential)
    return name


_is_fresh = off_loop(direct_rows.is_fresh)
