"""The body splicer: what it reads is true, and what it does not replace stays as it was."""

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.wire.body import BodyError, JSONObject, MessagesRequest

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
# Names that tempt: the real one, its neighbours, its escapes, braces and quotes inside.
names = st.sampled_from(
    ["model", "stream", "messages", 'mo"del', "model\\", "}", "{", ",", "ü", ""]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=6)
spaces = st.sampled_from(["", " ", "\n", "\t \r\n"])


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """An object as text, with any spacing and any escaping of its keys, and what it means."""
    value = draw(objects)
    members = []
    for name, item in value.items():
        key = draw(
            st.sampled_from(
                [json.dumps(name), json.dumps(name, ensure_ascii=False), _escaped(name)]
            )
        )
        text = json.dumps(
            item, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
        )
        gap = [draw(spaces) for _ in range(4)]
        members.append(f"{gap[0]}{key}{gap[1]}:{gap[2]}{text}{gap[3]}")
    return (draw(spaces) + "{" + ",".join(members) + "}" + draw(spaces)).encode(), value


def _escaped(name: str) -> str:
    units = name.encode("utf-16-be")
    return (
        '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'
    )


@given(written())
def test_it_reads_what_a_json_parser_reads(case: tuple[bytes, dict[str, Any]]) -> None:
    raw, value = case
    parsed = JSONObject.parse(raw)
    assert set(parsed.spans) == set(value)
    for name in value:
        assert json.loads(parsed.part(name)) == value[name]


@given(written(), st.text(st.characters(exclude_categories=["Cs"])))
def test_it_replaces_one_top_level_value_and_nothing_else(
    case: tuple[bytes, dict[str, Any]], model: str
) -> None:
    raw, value = case
    parsed = JSONObject.parse(raw)
    changed = parsed.replaced("model", json.dumps(model).encode())
    assert json.loads(changed) == value | {"model": model}
    if "model" in value:
        start, end = parsed.spans["model"]
        assert changed.startswith(raw[:start])
        assert changed.endswith(raw[end:])


@given(objects, names, values, values, st.integers(0, 6))
@example(
    {}, "model", {"model": 1, "b": 2}, "45678", 0
)  # the inside of the first looks like the rest
@example({"b": 2}, "a", {"x": 1, "b": 2}, "4567", 0)
def test_it_refuses_a_key_that_stands_twice(
    value: dict[str, Any], name: str, first: Any, second: Any, at: int
) -> None:
    members = [(key, item) for key, item in value.items() if key != name]
    members.insert(min(at, len(members)), (name, first))
    members.append((name, second))
    raw = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(item)}" for key, item in members) + "}"
    with pytest.raises(BodyError, match="twice"):
        JSONObject.parse(raw.encode())


@given(st.binary(max_size=60))
def test_it_answers_any_bytes_with_an_object_or_a_clear_refusal(raw: bytes) -> None:
    try:
        JSONObject.parse(raw)
    except BodyError as error:
        assert "request body" in str(error)


@given(st.binary(min_size=1, max_size=4))
def test_it_refuses_what_is_not_utf8(junk: bytes) -> None:
    try:
        junk.decode()
    except UnicodeDecodeError:
        with pytest.raises(BodyError):
            JSONObject.parse(b'{"a":"' + junk + b'"}')
    else:
        assume(False)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":1}{"b":2}', "not valid JSON"),
        (b'{"a":"\x00"}', "not valid JSON"),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deeply"),
        (b'{"a":' + b'{"a":' * 1_000_000, "nested too deeply"),
        (b'{"a":"\xff"}', "not valid UTF-8"),
        (b'{"\xff":1}', "not valid UTF-8"),
    ],
)
def test_it_says_what_is_wrong_with_a_body(raw: bytes, says: str) -> None:
    with pytest.raises(BodyError, match=says):
        JSONObject.parse(raw)


def test_it_reads_a_key_as_long_as_a_body_may_be() -> None:
    name = 'k\\"' * 2**20
    raw = f'{{"{name}":1,"model":"m"}}'.encode()
    assert JSONObject.parse(raw).part("model") == b'"m"'


def test_it_keeps_a_huge_number_as_it_was_written() -> None:
    digits = b"9" * 5000
    raw = b'{"model":"a","n":' + digits + b"}"
    assert JSONObject.parse(raw).replaced("model", b'"b"') == b'{"model":"b","n":' + digits + b"}"


def _body(**changes: Any) -> bytes:
    fields = {"model": "m", "messages": [], "max_tokens": 5} | changes
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": ...}, "model: Field required"),
        ({"messages": ...}, "messages: Field required"),
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"model": None}, "model: Input should be a valid string"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"model": "a\0b"}, "model: at most 256 printable characters"),
        ({"model": "m" * 257}, "model: at most 256 printable characters"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": "hello"}, "messages: Input should be a valid list"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 1.5}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, "max_tokens: Input should be from 0"),
        ({"max_tokens": 10**30}, "max_tokens: Input should be"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    ],
)
def test_it_names_the_field_that_is_wrong(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BodyError, match=f"^{says}"):
        MessagesRequest.parse(_body(**changes))


def test_it_counts_tokens_without_max_tokens() -> None:
    assert MessagesRequest.parse(_body(max_tokens=...), counting=True).model == "m"


@pytest.mark.parametrize("stream", [..., None, False, True])
def test_it_forces_streaming_and_changes_nothing_else(stream: object) -> None:
    request = MessagesRequest.parse(_body(stream=stream)).streaming()
    assert request.stream
    assert json.loads(request.body.raw) == json.loads(_body(stream=True))


def test_it_leaves_the_bytes_alone_when_the_model_keeps_its_name() -> None:
    raw = b' {"max_tokens" : 1e0 , "model":"m","messages":[ ],"new":{"model":1}} '.replace(
        b"1e0", b"1"
    )
    request = MessagesRequest.parse(raw)
    assert request.sent_to("m") is raw
    assert request.sent_to("n") == raw.replace(b'"model":"m"', b'"model":"n"')
