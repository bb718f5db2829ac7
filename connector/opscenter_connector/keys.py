"""What a session shows at its beginning: a key that stays, or a sign-in's token of the moment."""

from typing import Protocol

from opscenter_connector.mistakes import AwayError, CredentialError
from opscenter_connector.sessions import SessionEndError
from opscenter_connector.settings import Settings
from opscenter_connector.signedin import Tokens

REFUSED = 401


class Key(Protocol):
    """Where the credential comes from."""

    async def fresh(self) -> str:
        """One that is good now. Raises CredentialError, AwayError."""

    def was_refused(self) -> bool:
        """The gateway did not take it. Whether another may be better."""


class Fixed:
    """An API key."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def fresh(self) -> str:
        return self._key

    def was_refused(self) -> bool:
        return False


def of(settings: Settings) -> Key:
    """What this run shows."""
    if settings.is_signed_in:
        return Tokens(settings.login, settings.api_url, settings.ca_file)
    return Fixed(settings.api_key)


async def shown(key: Key) -> str:
    """The header's value. Where there is none, the session ends before it has begun."""
    try:
        return f"Bearer {await key.fresh()}"
    except CredentialError as error:
        raise SessionEndError(str(error), code=REFUSED) from error
    except AwayError as error:
        raise SessionEndError(str(error), unreachable=True) from error
