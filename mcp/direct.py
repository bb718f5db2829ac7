"""Servers that the gateway reaches itself: registered by a URL, asked for their tools."""

from accounts.principal import Principal
from mcp.models import McpServer


class NotRegisteredError(Exception):
    """The server is not taken. The text says why and may be shown; `field` is what to change."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field  # "name", "url" or "credential"


async def register(principal: Principal, name: str, url: str, credential: str = "") -> McpServer:
    """Look at the server, ask it for its tools and keep it; one of this name is replaced.

    `credential` is shown to it as `Authorization: Bearer` and stored encrypted. It takes at most
    REGISTER_S. Raises NotRegisteredError, and accounts.reads.DatabaseAwayError.
    """
    raise NotImplementedError
