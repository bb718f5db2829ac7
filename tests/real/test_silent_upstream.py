"""An upstream that falls silent in the middle of a stream, with the times that operators get.

For `make chaos`: it takes five minutes.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from accounts.tests.people import Person
from billing.models import Allowance, UsageRecord
from opscenter import env
from tests import answers
from tests import gateway as gateways
from tests.gateway import Gateway, eventually
from tests.test_limits import subscribe
from tests.turns import text_turn
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not env.words("OPSCENTER_CHAOS_SEEDS", []), reason="for `make chaos`"),
]

MINUTE = answers.Pause(60)
COMES_BACK = [MINUTE] * 3  # 180 s: Claude Code waits 300 s for the next event
NEVER_DOES = [MINUTE] * 5  # longer than OPSCENTER_UPSTREAM_IDLE_S, which is 280 s
GIVES_UP_S = 400
PING_S = 15
EVENTS = text_turn("after a long silence").events()
BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A stream to its end."""

    text: str
    longest_s: float  # between two pieces of it
    lasted_s: float


def hear(url: str, gateway: Gateway, words: str) -> Heard:
    asked = BODY | {"messages": [{"role": "user", "content": words}]}
    began = last = time.monotonic()
    text, longest_s = "", 0.0
    with (
        httpx.Client(headers=gateway.headers, timeout=GIVES_UP_S, trust_env=False) as client,
        client.stream("POST", f"{url}/v1/messages", json=asked) as it,
    ):
        for piece in it.iter_text():
            text, now = text + piece, time.monotonic()
            longest_s, last = max(longest_s, now - last), now
    return Heard(text=text, longest_s=longest_s, lasted_s=time.monotonic() - began)


def test_pings_go_on_and_an_end_comes(
    gateway: Gateway, alice: Person, upstream: Upstream, tmp_path: Path
) -> None:
    subscribe(alice, tokens_per_day=100_000)
    silences = {"back": COMES_BACK, "never": NEVER_DOES}
    upstream.answer_by(
        lambda request: answers.stream(
            [*EVENTS[:4], *silences[request.json["messages"][0]["content"]], *EVENTS[4:]]
        )
    )
    with gateways.running(tmp_path / "log") as (url, _):
        with ThreadPoolExecutor(2) as pool:
            back, never = pool.map(lambda words: hear(url, gateway, words), silences)
        eventually(lambda: not UsageRecord.objects.filter(closed_at__isnull=True).exists())
        (allowance,) = Allowance.objects.all()
    assert "event: message_stop" in back.text and "event: error" not in back.text
    assert back.text.count("event: ping") >= 180 / PING_S - 2
    assert "event: error" in never.text and "event: message_stop" not in never.text
    assert allowance.tokens_held == 0
    said = f"at most {back.longest_s:.1f} s without a sign of life"
    print(f"\n{said}; the other one was given up after {never.lasted_s:.0f} s")  # noqa: T201
