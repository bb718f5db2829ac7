"""Whoever shows a token of the stand-in for Keycloak, for the tests of bearers."""

import pytest

from accounts import auth, tokens
from accounts.principal import Principal
from tests.keycloak import Keycloak


@pytest.fixture(autouse=True)
def at_work(keycloak: Keycloak) -> None:
    """Ada works at Acme, as her tokens say, and no test finds another's Ada in memory."""
    keycloak.person["organization"] = "acme"
    tokens._people._kept.clear()


async def owner(token: str) -> Principal:
    return await auth.identify(f"Bearer {token}", "")


async def refused(token: str, kind: type[Exception] = auth.WrongError) -> str:
    with pytest.raises(kind) as error:
        await owner(token)
    assert token[40:60] not in str(error.value)
    return str(error.value)
