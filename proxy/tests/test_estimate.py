"""How many tokens a body is thought to be."""

import json
from typing import Any

import pytest

from proxy.wire import estimate
from proxy.wire.body import JSONObject
from proxy.wire.estimate import TOKENS_PER_IMAGE, input_tokens

ENGLISH = (
    "The harbour was quiet when the first boats came back in the morning. People stood along the "
    "wall and watched the nets being carried up the steps, and nobody said very much, because the "
    "night had been long and the catch was small. An old man who sold bread from a wooden cart "
    "walked up and down between them. He knew every name, and he remembered which of the families "
    "had waited for somebody who never returned. Later the sun rose over the hills, the market "
    "opened, and the children began to run through the narrow streets on their way to school. "
)
CODE = '''
def settle(receipts: list[Receipt], *, now: datetime) -> dict[str, int]:
    """Add up what every customer owes."""
    totals: dict[str, int] = {}
    for receipt in receipts:
        if receipt.closed_at is None or receipt.closed_at > now:
            continue
        tax = round(receipt.amount * RATES.get(receipt.country, 0.19))
        totals[receipt.customer_id] = totals.get(receipt.customer_id, 0) + receipt.amount + tax
    return {name: total for name, total in totals.items() if total != 0}
'''
TOOL = {
    "name": "search_orders",
    "description": "Find orders",
    "input_schema": {
        "type": "object",
        "properties": {"customer_id": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["customer_id"],
        "additionalProperties": False,
    },
}


def of_text(text: str) -> int:
    return input_tokens({"messages": [{"role": "user", "content": text}]})


def of_block(block: dict[str, Any]) -> int:
    return input_tokens({"messages": [{"role": "user", "content": [block]}]})


@pytest.mark.parametrize(
    ("text", "fewest_chars", "most_chars"),
    [
        (ENGLISH * 20, 3.5 * 0.83, 4.0 * 1.2),
        (CODE * 20, 2.8 * 0.83, 3.3 * 1.2),
        (json.dumps([TOOL] * 40), 2.8 * 0.83, 3.3 * 1.2),
        ("网关把请求翻译成另一种语言而且不会丢失任何信息。" * 50, 1 / 1.5, 1 / 1.0),
        ("利用者はツールを呼び出し、結果を受け取ります。" * 50, 1 / 1.5, 1 / 1.0),
    ],
    ids=["English", "code", "JSON", "Chinese", "Japanese"],
)
def test_a_token_is_as_long_as_in_that_language(
    text: str, fewest_chars: float, most_chars: float
) -> None:
    assert fewest_chars <= len(text) / of_text(text) <= most_chars


def test_everything_that_a_model_reads_counts() -> None:
    said = {"messages": [{"role": "user", "content": ENGLISH}]}
    least = input_tokens(said)
    result = {"type": "tool_result", "tool_use_id": "x", "content": ENGLISH}
    call = {"type": "tool_use", "id": "x", "name": "f", "input": {"text": ENGLISH}}
    for more in (
        {"system": ENGLISH},
        {"system": [{"type": "text", "text": ENGLISH}]},
        {"tools": [TOOL | {"description": ENGLISH}]},
        {"messages": [*said["messages"], {"role": "user", "content": [result]}]},
        {"messages": [*said["messages"], {"role": "assistant", "content": [call]}]},
    ):
        assert input_tokens(said | more) > 1.9 * least


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_an_image_counts_the_same_whatever_its_size(size: int) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * size}
    tokens = of_block({"type": "image", "source": source})
    assert 0 <= tokens - TOKENS_PER_IMAGE < 20


def test_a_pdf_counts_by_its_bytes() -> None:
    def of_pdf(size: int) -> int:
        source = {"type": "base64", "media_type": "application/pdf", "data": "A" * size}
        return of_block({"type": "document", "source": source})

    assert 1_400 < of_pdf(10) < 1_700
    assert 28_000 < of_pdf(1_000_000) < 32_000
    assert of_pdf(30_000_000) < 310_000


@pytest.mark.parametrize(
    "block",
    [
        {"type": "redacted_thinking", "data": "A" * 100_000},
        {"type": "thinking", "thinking": "Hm.", "signature": "A" * 100_000},
        {"type": "web_search_result", "url": "u", "encrypted_content": "A" * 100_000},
    ],
    ids=lambda block: block["type"],
)
def test_what_only_machines_read_does_not_count(block: dict[str, Any]) -> None:
    assert of_block(block) < 40


def test_a_document_of_text_counts_as_its_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": ENGLISH}
    assert 0 <= of_block({"type": "document", "source": source}) - of_text(ENGLISH) < 30


def test_it_does_not_fall_over_deep_or_odd_bodies() -> None:
    deep: Any = ENGLISH
    for _ in range(100_000):
        deep = [deep]
    assert input_tokens({"messages": deep}) > 100
    odd: list[Any] = [None, 5, {"type": ["x"]}, {"type": "base64", "data": 5}, "\ud800"]
    assert input_tokens({"messages": odd, "system": 5, "tools": {"a": 1.5}}) > 0
    assert input_tokens({}) == 1


def test_it_expects_by_size_what_it_need_not_read() -> None:
    assert expected(b'{"messages": [{"role": "user", "content": "%s"}]}' % (b"word " * 400)) == 511


@pytest.mark.parametrize("text", ["\U0001f600" * 300, "\u6f22" * 300, "\u0434" * 300])
def test_it_never_expects_less_of_another_script_than_it_would_count(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}]}
    raw = json.dumps(body, ensure_ascii=False).encode()
    assert expected(raw) >= estimate.input_tokens(body)


def test_it_expects_much_of_files_that_are_only_named() -> None:
    source = {"type": "url", "url": "https://example.com/a.pdf"}
    content = [{"type": "document", "source": source}]
    body = {"messages": [{"role": "user", "content": content}]}
    assert expected(json.dumps(body).encode()) >= estimate.UNSEEN_PDF_TOKENS


def expected(raw: bytes) -> int:
    return estimate.expected_input(JSONObject.parse(raw))


@pytest.mark.parametrize("kind", [["url"], {"a": 1}, None, 7])
def test_it_reads_a_source_whatever_its_type_is(kind: Any) -> None:
    content = [{"type": "document", "source": {"type": kind, "url": "x"}}]
    assert estimate.input_tokens({"messages": [{"role": "user", "content": content}]}) > 0
