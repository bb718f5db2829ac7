"""Results that are too large: what is cut, what is left out, and what is left."""

from typing import Any

import pytest

from opscenter_connector.results import (
    MAX_DEPTH,
    MAX_TEXT_BYTES,
    SMALL_CHARS,
    TOO_DEEP,
    fitted,
    fitted_error,
    is_small,
    sayable,
)

MOST = 1024 * 1024


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], **more}


def test_it_leaves_a_small_result_as_it_is() -> None:
    result = said("hello", structuredContent={"content": "hello"}, isError=False)
    assert fitted(result, MOST) == (result, "")


def test_it_keeps_what_is_structured_where_there_is_room() -> None:
    text = "x" * (700 * 1024)
    result, note = fitted(said(text, structuredContent={"content": text}), MOST)
    assert result["structuredContent"] == {"content": text}
    assert note == "long text was shortened"


@pytest.mark.parametrize("characters", [2 * MOST, MAX_TEXT_BYTES // 2])
def test_it_keeps_the_text_of_what_was_structured_too(characters: int) -> None:
    text = "x" * characters
    more = {"structuredContent": {"content": "y" * 2 * MOST}}
    result, note = fitted(said(text, **more), MOST)
    assert "structuredContent" not in result
    assert not result.get("isError")
    assert result["content"][0]["text"].startswith("x" * 1000)
    assert "structured content was left out" in note


def test_it_says_so_where_nothing_can_be_kept() -> None:
    result, note = fitted({"content": [], "structuredContent": {"content": "x" * 2 * MOST}}, MOST)
    assert result["isError"] is True
    assert note == "too large"


@pytest.mark.parametrize(
    ("body", "is_it"),
    [
        (None, True),
        (said("hello"), True),
        (said("x" * SMALL_CHARS), False),
        ({"content": [0] * SMALL_CHARS}, False),
        ({"content": [], "structuredContent": {"x" * SMALL_CHARS: 1}}, False),
    ],
)
def test_it_knows_what_is_plainly_small(body: Any, is_it: bool) -> None:
    assert is_small(body) is is_it


def nested(levels: int) -> dict[str, Any]:
    """An object with lists in it, so many levels in all."""
    inner: list[Any] = []
    for _ in range(levels - 2):
        inner = [inner]
    return {"deep": inner}


def depth(value: Any) -> int:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def test_it_leaves_what_is_as_deep_as_the_gateway_takes() -> None:
    body = nested(MAX_DEPTH)
    assert depth(body) == MAX_DEPTH
    assert sayable(body) is body


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, MAX_DEPTH + 90])
def test_it_leaves_out_what_is_deeper(levels: int) -> None:
    result, _ = fitted(said("hello", structuredContent=nested(levels)), MOST)
    assert result["content"][0]["text"] == "hello"
    error = fitted_error({"code": 1, "message": "no", "data": nested(levels)})
    for body in (result, error):
        assert depth(body) == MAX_DEPTH
        assert TOO_DEEP in str(body)
