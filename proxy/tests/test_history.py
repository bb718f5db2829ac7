"""The history, cleaned for upstreams that cannot take all of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.body import JSONObject
from proxy.wire.history import (
    with_system_folded,
    without_fields,
    without_local_thinking,
    without_thinking,
)
from proxy.wire.signature import Signer

Message = dict[str, Any]

OURS = {
    "type": "thinking",
    "thinking": "Hm.",
    "signature": Signer(b"k").sign("Hm."),
}
THEIRS = {"type": "thinking", "thinking": "Aha.", "signature": "EqQBCgIYAhIM"}
HIDDEN = {"type": "redacted_thinking", "data": "x"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a b"}


def text(said: str) -> Message:
    return {"type": "text", "text": said}


def user(*content: Any) -> Message:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> Message:
    return {"role": "assistant", "content": list(content)}


def system(content: Any) -> Message:
    return {"role": "system", "content": content}


def body(*messages: Any, **fields: Any) -> JSONObject:
    return JSONObject.parse(
        json.dumps({"model": "m", "messages": list(messages)} | fields).encode()
    )


def messages(it: JSONObject) -> Any:
    return it.value("messages")


def test_it_takes_out_the_thinking_that_is_ours() -> None:
    before = body(user(text("a")), assistant(OURS, THEIRS, CALL), user(RESULT))
    after = without_local_thinking(before)
    assert messages(after) == [user(text("a")), assistant(THEIRS, CALL), user(RESULT)]


def test_it_takes_out_all_thinking() -> None:
    before = body(user(text("a")), assistant(OURS, THEIRS, HIDDEN, text("b")))
    assert messages(without_thinking(before)) == [user(text("a")), assistant(text("b"))]


@pytest.mark.parametrize("clean", [without_local_thinking, without_thinking, with_system_folded])
def test_it_gives_back_the_same_body_where_nothing_has_to_go(clean: Any) -> None:
    it = body(user(text("a system")), assistant(text("b"), CALL), user(RESULT), system=[text("s")])
    assert clean(it) is it


def test_a_text_that_only_looks_like_our_signature_stays() -> None:
    it = body(user(text(OURS["signature"])), assistant(text(OURS["signature"]), THEIRS))
    assert without_local_thinking(it) is it


def test_it_leaves_the_thinking_that_a_user_quotes() -> None:
    it = body(user(OURS))
    assert without_thinking(it) is it
    assert without_local_thinking(it) is it


def test_an_empty_turn_goes_and_its_neighbours_become_one() -> None:
    before = body(
        user(text("a")), assistant(OURS), {"role": "user", "content": "b"}, assistant(text("c"))
    )
    after = without_local_thinking(before)
    assert messages(after) == [user(text("a"), text("b")), assistant(text("c"))]


def test_a_result_stays_behind_its_call_when_turns_become_one() -> None:
    before = body(
        user(text("a")),
        assistant(CALL),
        user(RESULT, text("b")),
        assistant(HIDDEN),
        user(text("c")),
    )
    after = messages(without_thinking(before))
    assert after == [user(text("a")), assistant(CALL), user(RESULT, text("b"), text("c"))]


def test_several_empty_turns_in_a_row_leave_one_turn() -> None:
    before = body(
        user(text("a")),
        assistant(OURS),
        user(text("b")),
        assistant(OURS),
        assistant(OURS),
        user(text("c")),
    )
    assert messages(without_thinking(before)) == [user(text("a"), text("b"), text("c"))]


def test_an_empty_turn_at_either_end_just_goes() -> None:
    before = body(assistant(OURS), user(text("a")), assistant(OURS))
    assert messages(without_thinking(before)) == [user(text("a"))]


def test_turns_that_were_neighbours_before_stay_apart() -> None:
    before = body(user(text("a")), user(text("b")), assistant(OURS, text("c")))
    assert messages(without_thinking(before))[:2] == [user(text("a")), user(text("b"))]


def test_what_stays_stays_byte_for_byte() -> None:
    thinking = json.dumps(OURS).encode()
    call = b'{"type" :"tool_use","id":"t","name":"n","input":{"n":1.50,"e":1e400,"i":%b}}' % (
        b"9" * 30
    )
    said = b'{"role":"user","content":[ {"type":"text","text":"\\u00e9"} ] }'
    turn = b'{"content":[%b,%b],"role":"assistant"}' % (thinking, call)
    raw = b'{"x": 1.0, "messages": [%b,%b], "y": [ ]}' % (said, turn)
    after = without_local_thinking(JSONObject.parse(raw))
    assert after.raw == raw.replace(thinking + b",", b"")


def test_it_folds_a_system_message_into_the_user_turn_before_it() -> None:
    before = body(
        user(text("a")),
        system([text("s") | {"cache_control": {"type": "ephemeral"}}]),
        assistant(text("b")),
        user(text("c")),
        system("t"),
    )
    assert messages(with_system_folded(before)) == [
        user(text("a"), text("s") | {"cache_control": {"type": "ephemeral"}}),
        assistant(text("b")),
        user(text("c"), text("t")),
    ]


def test_it_folds_between_two_user_turns() -> None:
    before = body(
        {"role": "user", "content": "a"}, system("s"), system(""), system("t"), user(text("b"))
    )
    assert messages(with_system_folded(before)) == [
        user(text("a"), text("s"), text("t"), text("b"))
    ]


def test_what_is_folded_does_not_come_between_a_call_and_its_result() -> None:
    before = body(user(text("a")), assistant(CALL), system("s"), user(RESULT, text("b")))
    after = messages(with_system_folded(before))
    assert after == [user(text("a")), assistant(CALL), user(RESULT, text("s"), text("b"))]


def test_a_system_message_without_neighbours_becomes_a_user_turn() -> None:
    assert messages(with_system_folded(body(system("s")))) == [user(text("s"))]
    both = with_system_folded(body(system("s"), assistant(text("a")), system([text("t")])))
    assert messages(both) == [user(text("s")), assistant(text("a")), user(text("t"))]


def test_what_no_user_can_say_is_left_out() -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}
    before = body(
        user(text("a")), system([added, text("s")]), assistant(text("b")), system([added])
    )
    assert messages(with_system_folded(before)) == [
        user(text("a"), text("s")),
        assistant(text("b")),
    ]


STRANGE: list[Any] = [
    *(5, None, "x", [], {}, {"role": 5}, {"role": "assistant"}),
    assistant(5, None, "x", [], {"type": []}),
    {"role": "assistant", "content": "x"},
    {"role": "user", "content": None},
    system(5),
    system([5]),
]


@pytest.mark.parametrize("strange", STRANGE)
def test_it_leaves_strange_messages_to_the_judgement_of_the_upstream(strange: Any) -> None:
    it = body(user(text("a")), strange, assistant(OURS, text("system")))
    for clean in (without_local_thinking, without_thinking):
        assert messages(clean(it)) == [user(text("a")), strange, assistant(text("system"))]
    left = messages(with_system_folded(it))
    assert left[0] == user(text("a")) and left[-1] == assistant(OURS, text("system"))


@pytest.mark.parametrize("wrong", [b"5", b"{}", b'"system"', b"null"])
def test_it_leaves_messages_that_are_no_list(wrong: bytes) -> None:
    raw = b'{"note":"' + OURS["signature"].encode() + b'","messages":' + wrong + b"}"
    it = JSONObject.parse(raw)
    for clean in (without_local_thinking, without_thinking, with_system_folded):
        assert clean(it) is it


def test_it_takes_out_fields_and_nothing_else() -> None:
    raw = b'{ "safeguards" : [1], "a":1.0 ,"metadata":{"x":{}},\n"z" : "\\u00e9" , "last":2}'
    it = JSONObject.parse(raw)
    out = without_fields(it, ["metadata", "safeguards", "last", "missing"])
    assert out.raw == b'{ "a":1.0,\n"z" : "\\u00e9"}'
    assert without_fields(it, ["missing"]) is it
    assert without_fields(out, ["a", "z"]).decoded() == {}


names = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3), unique=True, max_size=6
)


@given(names, st.data())
def test_an_object_without_a_member_is_that_object_without_it(keys: list[str], data: Any) -> None:
    value = {key: [number, {key: "}"}] for number, key in enumerate(keys)}
    it = JSONObject.parse(json.dumps(value, indent=data.draw(st.sampled_from([None, 1]))).encode())
    name = data.draw(st.sampled_from([*keys, "missing"]))
    value.pop(name, None)
    assert json.loads(it.without(name)) == value
    assert JSONObject.parse(it.without(name)).decoded() == value


def test_a_long_history_takes_no_long_time() -> None:
    """Both grow with its square when each turn is written anew for each that joins it."""
    one = user(text("x" * 100))
    thoughts = without_thinking(body(one, *[assistant(OURS), one] * 20_000))
    orders = with_system_folded(body(one, *[system("s"), one] * 20_000))
    assert [len(turn["content"]) for turn in messages(thoughts)] == [20_001]
    assert [len(turn["content"]) for turn in messages(orders)] == [40_001]
