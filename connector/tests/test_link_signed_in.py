"""A session that was begun with a token, whose time runs out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from opscenter_connector.endings import ExitCode
from opscenter_connector.happenings import Connected
from tests import provider as providers
from tests.conftest import Connector
from tests.gateway import Gateway
from tests.test_signin import keep


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_it_shows_the_token_of_the_moment(
    gateway: Gateway, start: Callable[..., Connector], tmp_path: Path, transport: str
) -> None:
    with providers.serving() as provider:
        login = tmp_path / "login.json"
        keep(login, provider.url, api_url=gateway.url)
        connector = start(transport, api_key="", login=login, is_signed_in=True)
        await connector.heard(Connected)
        shown = {headers["authorization"] for headers in gateway.headers}
    assert shown == {"Bearer access-1"}


async def test_it_comes_back_with_a_new_one(
    gateway: Gateway, start: Callable[..., Connector], tmp_path: Path
) -> None:
    with providers.serving() as provider:
        login = tmp_path / "login.json"
        keep(login, provider.url, api_url=gateway.url, left_s=300)
        gateway.faults.close = 4401
        connector = start(api_key="", login=login, is_signed_in=True)
        await connector.heard(Connected)
        shown = [headers["authorization"] for headers in gateway.headers]
    assert shown == ["Bearer access-0", "Bearer access-1"]


async def test_it_ends_where_a_new_one_is_refused_too(
    gateway: Gateway, start: Callable[..., Connector], tmp_path: Path
) -> None:
    with providers.serving() as provider:
        login = tmp_path / "login.json"
        keep(login, provider.url, api_url=gateway.url)
        gateway.faults.upgrade, gateway.faults.by_proxy = 401, False
        ending = await start(api_key="", login=login, is_signed_in=True).ended()
    assert ending.exit_code == ExitCode.CREDENTIAL
    assert len(gateway.headers) == 1


async def test_it_ends_with_the_sign_in(
    gateway: Gateway, start: Callable[..., Connector], tmp_path: Path
) -> None:
    with providers.serving() as provider:
        login = tmp_path / "login.json"
        keep(login, provider.url, api_url=gateway.url)
        provider.answers = [(400, {"error": "invalid_grant"})]
        ending = await start(api_key="", login=login, is_signed_in=True).ended()
    assert (ending.exit_code, "ops-connector login" in ending.reason) == (ExitCode.CREDENTIAL, True)
