"""The caller as plain data."""

from dataclasses import dataclass
from uuid import UUID

MESSAGES = "anthropic-proxy"
CALLBACK = "mcp-callback"
USAGE_READ = "usage:read"
KEYS_WRITE = "keys:write"
APPROVE = "mcp-approve"
# A key of an agent, or of the machine it runs on, must not approve what the agent wants to do.
OF_PROGRAMS = (MESSAGES, CALLBACK, USAGE_READ, KEYS_WRITE)
SCOPES = (*OF_PROGRAMS, APPROVE)

# Begins what stands for a key's id where somebody showed a token; no key's id begins with it.
IDENTITY_MARK = "@"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling, and what the credential they showed may be used for."""

    organization_id: UUID
    user_id: int
    key_id: str
    scopes: frozenset[str]
    is_service: bool = False
    tags: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """Whom limits count: the person, however many keys they have, or the program's one key."""
        return f"key:{self.key_id}" if self.is_service else f"user:{self.user_id}"
