"""What a Keycloak token says of a person, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The widths of the columns that they end in.
NAME_CHARS = 150
EMAIL_CHARS = 254
SUBJECT_CHARS = 255  # OpenID Connect Core 1.0, section 2
ORGANIZATION_CHARS = 200
ORGANIZATIONS = 50  # of one person; a token with more is an accident


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where a token says what. A dotted name is looked for as it is, then as a path."""

    client_id: str
    organization: str = ""  # empty: tokens say nothing of organizations
    role: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """A person, as a token that was verified tells of them."""

    issuer: str
    subject: str
    session: str  # of theirs at Keycloak (`sid`); empty where the token has none
    client: str  # for which the token was made
    username: str
    email: str
    first_name: str
    last_name: str
    roles: frozenset[str]  # of our own client
    organizations: tuple[str, ...]
    role: str  # in these
    plan: str
    issued_at: int
    expires_at: int


def read(token: Mapping[str, Any], wanted: Wanted) -> Claims:
    """What the payload of a verified token says. What is no text, or too long, is cut or left."""
    return Claims(
        issuer=token["iss"],
        subject=token["sub"],
        session=_text(token.get("sid"), SUBJECT_CHARS),
        client=_text(token.get("azp"), SUBJECT_CHARS),
        username=_text(token.get("preferred_username"), NAME_CHARS),
        email=_text(token.get("email"), EMAIL_CHARS),
        first_name=_text(token.get("given_name"), NAME_CHARS),
        last_name=_text(token.get("family_name"), NAME_CHARS),
        roles=frozenset(_texts(_of_client(token, wanted.client_id), NAME_CHARS)),
        organizations=_organizations(_at(token, wanted.organization)),
        role=_first(_at(token, wanted.role)),
        plan=_first(_at(token, wanted.plan)),
        issued_at=token["iat"],
        expires_at=token["exp"],
    )


def _of_client(token: Mapping[str, Any], client_id: str) -> Any:
    """The roles of one client. A client's id may hold dots, so this is no path."""
    clients = token.get("resource_access")
    ours = clients.get(client_id) if isinstance(clients, dict) else None
    return ours.get("roles") if isinstance(ours, dict) else None


def _at(token: Mapping[str, Any], name: str) -> Any:
    if not name or name in token:
        return token.get(name)
    found: Any = token
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _organizations(value: Any) -> tuple[str, ...]:
    """From text, a list of texts, or an object whose names they are, as Keycloak's own claim."""
    values = list(value) if isinstance(value, dict) else value
    # Two names with the same beginning must not become one organization: too long is none.
    found = [
        one for one in _texts(values, ORGANIZATION_CHARS + 1) if len(one) <= ORGANIZATION_CHARS
    ]
    return tuple(dict.fromkeys(found))[:ORGANIZATIONS]


def _first(value: Any) -> str:
    return next(iter(_texts(value, NAME_CHARS)), "")


def _texts(value: Any, most: int) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for one in values if (text := _text(one, most))]


def _text(value: Any, most: int) -> str:
    """Text that every database holds: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode(errors="replace").decode().strip()[:most]
