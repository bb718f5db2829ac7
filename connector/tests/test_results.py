"""Results that are too large: what is cut, what is left out, and what is left."""

from typing import Any

import pytest

from opscenter_connector.results import MAX_TEXT_BYTES, SMALL_CHARS, fitted, is_small

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
