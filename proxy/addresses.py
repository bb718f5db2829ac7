"""Which addresses an upstream's URL may name itself; a name is judged when it is looked up."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from accounts.networks import is_off_limits


@lru_cache(maxsize=1024)  # asked before every request, of a few upstreams
def literal_off_limits(url: str) -> bool:
    """Whether a URL names an address itself that only the machine's own cloud answers."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # Digits alone, of whichever script, are never a name: systems read 2852039166 as
        # 169.254.169.254, and HTTP clients do not look up what they take for an address.
        return host.replace(".", "").isdigit()
    return is_off_limits(host)
