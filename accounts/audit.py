"""The trail of what operators and keys did. Lines are added, never changed."""

from typing import Any

from accounts.models import ApiKey, AuditEntry, Organization
from accounts.principal import IDENTITY_MARK, Principal

KEY_CREATED = "key.created"
KEY_RENAMED = "key.renamed"
KEY_TAGGED = "key.tagged"
KEY_ROTATED = "key.rotated"
KEY_REVOKED = "key.revoked"

SYSTEM = "system"  # the actor when somebody works at the server's own command line


def user(user_id: int) -> str:
    """A signed-in person as the actor of a line."""
    return f"user:{user_id}"


def key(key_id: str) -> str:
    """An API key as the actor or the subject of a line."""
    return f"key:{key_id}"


def caller(principal: Principal) -> str:
    """Whoever showed a credential: the key, or the person whose token it was."""
    is_key = not principal.key_id.startswith(IDENTITY_MARK)
    return key(principal.key_id) if is_key else user(principal.user_id)


def made(key: ApiKey) -> dict[str, Any]:
    """What a line tells of a new key."""
    return {
        "name": key.name,
        "scopes": key.scopes,
        "is_service": key.is_service,
        "tags": key.tags,
    }


def record(
    action: str,
    subject: str,
    actor: str,
    organization: Organization | None,
    details: dict[str, Any],
) -> None:
    """Add a line. Call it in the transaction of what it tells, so that both happen or neither."""
    AuditEntry.objects.create(
        action=action, subject=subject, actor=actor, organization=organization, details=details
    )
