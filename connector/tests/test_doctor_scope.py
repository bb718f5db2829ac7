"""What doctor says of a key that is taken and opens no tunnel."""

from opscenter_connector.checkup.gateway import MAKE_KEY, NO_USER
from opscenter_connector.checkup.steps import FAILED, OK, SKIPPED
from tests.gateways import Answer, Asked, gateway, said, well
from tests.test_doctor import alone, findings

__all__ = ["alone"]


async def test_it_gives_the_gateways_words_about_a_scope() -> None:
    def answers(asked: Asked) -> Answer | None:
        if asked.path.startswith("/api/mcp/servers/"):
            return said(403, detail="This key lacks the scope mcp-callback.")
        return well(asked)

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert found["key taken"].state == OK
    assert found["scope"].seen == "This key lacks the scope mcp-callback."
    assert found["scope"].fix == (MAKE_KEY,)
    assert found["scope"].state == FAILED
    assert found["WebSocket"].state == SKIPPED


async def test_it_says_that_a_user_is_not_the_keys_owner() -> None:
    def answers(asked: Asked) -> Answer | None:
        if asked.path.startswith("/api/mcp/servers/"):
            return said(404, detail="There is no such user for you to see.")
        return well(asked)

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}", user_id="operator")
    assert found["key taken"].state == OK
    assert (found["scope"].state, found["scope"].why) == (
        FAILED,
        "user operator is not the key's owner",
    )
    assert found["scope"].fix == (NO_USER,)
