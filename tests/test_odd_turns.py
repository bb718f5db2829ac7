"""Turns that no upstream should say, inside one request: the client gets a legal stream."""

import json
from typing import Any

import pytest

from tests import answers, tunnel
from tests.answers import End
from tests.gateway import Gateway
from tests.machine_work import BETA, ask, events_in, laptop
from tests.turns import text_turn, tool_turn
from tests.upstream import Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

CALL = tool_turn(("files_read", {"path": "a"}), text="I look.").events()
CALL_ID = next(one["content_block"]["id"] for one in CALL if one.get("content_block", {}).get("id"))
MANY = 2000


def changed(**more: Any) -> list[dict[str, Any]]:
    """The events of the call, with these members in each that has them."""
    return [one | {name: value for name, value in more.items() if name in one} for one in CALL]


ODD = {
    **{f"cut after {at}": [*CALL[:at], End.CUT] for at in range(1, len(CALL))},
    **{f"without {at}": [*CALL[:at], *CALL[at + 1 :]] for at in range(len(CALL))},
    **{f"twice {at}": [*CALL[: at + 1], *CALL[at:]] for at in range(len(CALL))},
    "other places": changed(index=99),
    "no usage": changed(usage={"output_tokens": "many", "input_tokens": -5}),
    "an end that is none": changed(delta=["end_turn"]),
    "no id": json.loads(json.dumps(CALL).replace(f'"{CALL_ID}"', "7")),
    "another end": changed(delta={"stop_reason": "end_turn"}),
}


@pytest.mark.parametrize("beta", [BETA, ""])
async def test_the_client_gets_a_legal_stream(
    gateway: Gateway, upstream: Upstream, beta: str
) -> None:
    for name, events in ODD.items():
        upstream.script(answers.stream(events))
        upstream.answer_by(lambda _: text_turn("Bread."))
        async with laptop(gateway):
            question = [{"role": "user", "content": name}]
            answer = await ask(gateway, beta, stream=True, messages=question)
        assert answer.status_code in {200, 502}, f"{name}: {answer.text}"
        if answer.status_code == 200:
            assert events_in(answer), name
    assert "Traceback" not in gateway.log.read_text()


async def test_it_refuses_a_thousand_calls_at_once(gateway: Gateway, upstream: Upstream) -> None:
    calls = [("files_read", {"path": str(number)}) for number in range(MANY)]
    upstream.script(tool_turn(*calls), text_turn("Sorry."))
    async with laptop(gateway) as handed:
        answer = (await ask(gateway)).json()
    assert not handed
    results = [one for one in answer["content"] if one["type"] == "mcp_tool_result"]
    assert len(results) == MANY
    assert {one["is_error"] for one in results} == {True}
    assert "may make 100 tool calls" in json.dumps(results[0])
