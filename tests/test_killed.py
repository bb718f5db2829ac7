"""A process that is killed in the middle of a stream: another one settles what it left open."""

import signal
from pathlib import Path

import httpx

from accounts.tests.people import Person
from billing.models import Allowance, Plan, Subscription, UsageRecord
from tests import answers
from tests import gateway as gateways
from tests.asking import BODY
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream

WITHIN_S = 60  # as promised


def test_another_process_settles_it_within_a_minute(
    gateway: Gateway, alice: Person, upstream: Upstream, tmp_path: Path
) -> None:
    plan = Plan.objects.create(code="tight", name="Tight", tokens_per_day=1000)
    Subscription.objects.create(organization=alice.organization, plan=plan)
    body = BODY | {"stream": True, "messages": [{"role": "user", "content": "word " * 100}]}
    upstream.script(answers.stream([*text_turn().events()[:4], answers.End.HANG]))
    with (
        gateways.running(tmp_path / "log") as (url, process),
        httpx.Client(headers=gateway.headers, timeout=30, trust_env=False) as client,
        client.stream("POST", f"{url}/v1/messages", json=body) as response,
    ):
        next(response.iter_raw())
        sent = int(response.request.headers["content-length"])
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    (row,) = UsageRecord.objects.all()
    assert row.state == "admitted"

    def settled() -> UsageRecord | None:
        return UsageRecord.objects.exclude(state="admitted").first()

    row = gateways.eventually(settled, WITHIN_S)
    assert (row.state, row.estimated, row.flags) == ("interrupted", True, "swept")
    assert (row.input_tokens, row.output_tokens) == (sent // 4, 0)
    assert row.cost_nano > 0
    allowance = Allowance.objects.get()
    assert (allowance.requests, allowance.tokens) == (1, sent // 4)
    assert (allowance.tokens_held, allowance.cost_held_nano) == (0, 0)
