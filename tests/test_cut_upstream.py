"""An upstream whose line is cut anywhere: the client reads a stream that ends as one must.

More than a hundred places: after each event, in the middle of each, inside characters of several
bytes, and in the head of the answer.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from billing.models import UsageRecord
from proxy.models import Upstream as Row
from proxy.wire import sse
from tests import answers
from tests.faults import FaultProxy, between
from tests.gateway import Gateway, eventually
from tests.turns import text_turn, usage
from tests.upstream import Upstream

BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}
TURN = text_turn("Grüße, 日本語 🎈 " * 3, cost=usage(input_tokens=9, output_tokens=8))
RAW = b"".join(map(answers.sse, TURN.events()))
STEP = 7  # bytes between two cuts: no divisor of anything in it
LAST = {"message_stop", "error"}


@pytest.fixture
def cut(gateway: Gateway, upstream: Upstream) -> Iterator[FaultProxy]:
    """The way to the upstream."""
    with between(upstream.url) as proxy:
        Row.objects.filter(name="scripted").update(base_url=proxy.url)
        yield proxy


@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
def test_wherever_it_is_cut(
    client: httpx.Client, upstream: Upstream, cut: FaultProxy, by_reset: bool
) -> None:
    upstream.script(answers.stream([RAW]))
    whole = client.post("/v1/messages", json=BODY)
    assert whole.status_code == 200
    length = cut.down.passed
    wrong, asked = [], 1
    for at in range(5, length, STEP if not by_reset else STEP * 3):
        upstream.script(answers.stream([RAW]))
        cut.heal()
        cut.down.ends_at, cut.down.by_reset = at, by_reset
        answer = client.post("/v1/messages", json=BODY)
        asked += 1
        if not _is_good(answer):
            wrong.append((at, answer.status_code, answer.content[-200:]))
    assert wrong == []
    eventually(lambda: UsageRecord.objects.exclude(closed_at=None).count() == asked)
    assert UsageRecord.objects.count() == asked  # one row each, and none stays open


def _is_good(answer: httpx.Response) -> bool:
    """An error with a status, or a stream that is not empty and ends with its last event."""
    if answer.status_code != 200:
        return answer.status_code in {502, 503, 529} and answer.json()["type"] == "error"
    splitter = sse.Splitter()
    events = list(sse.events(splitter.feed(answer.content)))
    datas = [json.loads(event.data) for event in events]  # no half event, no half character
    return (
        splitter.rest == b""
        and bool(events)
        and events[-1].name in LAST
        and all(data["type"] == event.name for data, event in zip(datas, events, strict=True))
    )
