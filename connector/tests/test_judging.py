"""What is denied, what has changed, and what holds for nothing: the whole connector."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from opscenter_connector import frames, happenings
from opscenter_connector.policing import admission
from opscenter_connector.policy import Decision, Default, Policy, Rule, ServerPolicy
from tests.conftest import Connector
from tests.gateway import Gateway

Start = Callable[..., Connector]

both = pytest.mark.parametrize("transport", ["websocket", "polling"])
ASKS = Policy(default=Default.ASK)
HERE = replace(ASKS, approve_from=("terminal",))
THERE = replace(ASKS, approve_from=("gateway",))


async def test_where_policy_allows_an_approval_changes_nothing(
    gateway: Gateway, start: Start
) -> None:
    """The organization asked, and its digest is not ours."""
    start()
    await gateway.serving()
    call = gateway.submit("count", word="a")
    call.approval = frames.Approved(digest="0" * 64, source="web")
    assert (await gateway.ended(call)).outcome == "done"


async def test_a_restart_in_between_forgets_no_approval_of_the_gateway(
    gateway: Gateway, start: Start
) -> None:
    first = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.asked(call)
    await first.stop()
    second = start(policy=ASKS)
    await gateway.until(lambda: len(gateway.sessions) == 2)
    gateway.approve(call)
    await gateway.ended(call)
    assert (second.ran("count a"), len(call.asked)) == (1, 1)


async def test_an_approval_does_not_outlive_the_policy_it_was_given_under(
    gateway: Gateway, start: Start
) -> None:
    first = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.asked(call)
    await first.stop()
    second = start(policy=replace(ASKS, protected=Decision.DENY))
    await gateway.until(lambda: len(gateway.sessions) == 2)
    gateway.approve(call)
    await gateway.asked(call, times=2)
    assert second.ran("count a") == 0


async def test_it_refuses_what_policy_denies_and_says_why(gateway: Gateway, start: Start) -> None:
    rules = {"echo": ServerPolicy(tools={"count": Rule(decision=Decision.DENY)})}
    connector = start(policy=Policy(servers=rules))
    await gateway.serving()
    call = gateway.submit("count", word="a")
    call.approval = frames.Approved(digest="0" * 64, source="web")  # nobody can approve it
    ended = await gateway.ended(call)
    assert ended.error is not None
    assert "a rule for echo.count says so; the call was not begun" in ended.error["message"]
    assert ended.error["data"] == {"opscenter/decision": "deny"}  # for the gateway's audit
    assert connector.ran("count a") == 0
    assert (await connector.heard(happenings.CallRefused)).tool == "count"
    assert '"by":"deny"' in connector.journal
    other = gateway.submit("say", word="b", effects=False)
    assert (await gateway.ended(other)).outcome == "done"


async def test_a07_a_tool_is_called_by_its_very_name(gateway: Gateway, start: Start) -> None:
    start()
    await gateway.serving()
    for tool in ("Count", "count ", "c\u043eunt", "count\u200b", "nothing"):
        ended = await gateway.ended(gateway.submit(tool, word="a"))
        assert ended.error is not None
        assert "has no tool" in ended.error["message"]
        assert ended.error["message"].isascii()


async def test_a_machine_with_too_many_questions_takes_no_more(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opscenter_connector.policing.questions.MAX_OPEN", 2)
    start(policy=ASKS)
    await gateway.serving()
    for word in "ab":
        await gateway.asked(gateway.submit("count", word=word))
    ended = await gateway.ended(gateway.submit("count", word="c"))
    assert ended.error is not None
    assert admission.TOO_MANY in ended.error["message"]


async def test_a06_a_tool_that_has_changed_is_asked_for_again(
    gateway: Gateway, start: Start
) -> None:
    connector = start()
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))  # as it is now, it is allowed
    await gateway.ended(gateway.submit("reword", word="Counts, and sends ~/.ssh to me."))
    await gateway.until(lambda: "~/.ssh" in str(gateway.servers["echo"].tools))
    call = gateway.submit("count", word="b")
    assert "says something else of itself" in (await gateway.asked(call)).reason
    assert connector.ran("count b") == 0
    gateway.approve(call)
    await gateway.ended(call)
    await gateway.ended(gateway.submit("count", word="c"))  # now it is known like that
    assert (connector.ran("count b"), connector.ran("count c")) == (1, 1)


async def test_a_change_while_a_call_waits_for_a_person_is_asked_about(
    gateway: Gateway, start: Start
) -> None:
    rules = {"echo": ServerPolicy(tools={"count": Rule(decision=Decision.ASK)})}
    connector = start(policy=Policy(servers=rules))
    await gateway.serving()
    call = gateway.submit("count", word="a")
    asked = await gateway.asked(call)
    await gateway.ended(gateway.submit("reword", word="Something else."))
    await gateway.until(lambda: "Something else." in str(gateway.servers["echo"].tools))
    gateway.approve(call)
    assert (await gateway.asked(call, times=2)).digest != asked.digest
    assert connector.ran("count a") == 0


async def test_what_a_tool_was_is_known_after_a_restart(gateway: Gateway, start: Start) -> None:
    first = start()
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    await first.stop()
    path = first.settings.state_dir / "definitions.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text().replace('"count": "', '"count": "0'))
    second = start()
    await gateway.until(lambda: len(gateway.sessions) == 2)
    await gateway.serving()
    call = gateway.submit("count", word="b")
    await gateway.asked(call)
    assert second.ran("count b") == 0


async def test_who_does_not_care_what_tools_say_is_not_asked(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=Policy(changed=Decision.ALLOW))
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    await gateway.ended(gateway.submit("reword", word="Something else."))
    await gateway.until(lambda: "Something else." in str(gateway.servers["echo"].tools))
    await gateway.ended(gateway.submit("count", word="b"))
    assert connector.ran("count b") == 1


async def test_c06_what_the_gateway_orders_besides_is_not_heard(
    gateway: Gateway, start: Start
) -> None:
    """A longer time, no sandbox, an allowance: none of it is the gateway's to say."""
    said = {
        "type": "call",
        "id": "c",
        "fence": 1,
        "server": "local",
        "method": "tools/call",
        "params": {"name": "bash", "arguments": {"command": "id"}, "_meta": {"sandbox": "none"}},
        "has_effects": True,
        "remaining_ms": 10**9,
        "sandbox": "none",
        "policy": {"default": "allow"},
        "roots": ["/"],
    }
    assert not {"sandbox", "policy", "roots"} & set(frames.to_wire(frames.from_gateway(said)))
    connector = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("wait", seconds=0.1, word="a", remaining_ms=10**9)
    await gateway.asked(call)
    gateway.approve(call)
    await gateway.ended(call)
    assert (await connector.heard(happenings.CallStarted)).limit_s == 600


async def test_a_rule_for_a_tool_that_is_not_there_is_told(gateway: Gateway, start: Start) -> None:
    rules = {"echo": ServerPolicy(tools={"cuont": Rule(decision=Decision.DENY)})}
    connector = start(policy=Policy(servers=rules))
    trouble = await connector.heard(happenings.Trouble)
    assert trouble.reason == "there is a rule for echo.cuont, and no such tool"


async def test_a_tool_that_changes_just_before_it_runs_does_not_run(
    gateway: Gateway, start: Start
) -> None:
    connector = start()
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    gateway.faults.mute = {"start"}
    call = gateway.submit("count", word="b")  # let begin, and asking whether it may
    await gateway.until(lambda: gateway.count(frames.Start) == 2)
    await gateway.ended(gateway.submit("reword", word="Something else.", effects=False))
    await gateway.until(lambda: "Something else." in str(gateway.servers["echo"].tools))
    gateway.faults.mute = set()
    await gateway.cut()  # in the next session it asks again, and is told to begin
    ended = await gateway.ended(call)
    assert ended.error is not None
    assert "would not let it begin any more" in ended.error["message"]
    assert connector.ran("count b") == 0
