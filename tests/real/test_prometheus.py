"""What Prometheus's own tool says of our rules, and of a gateway's metrics."""

import subprocess

import httpx
import pytest

from tests.conftest import ledger_row
from tests.environment import ROOT
from tests.gateway import Gateway
from tests.real.conftest import need
from tests.turns import text_turn
from tests.upstream import Upstream

pytestmark = pytest.mark.real

WITHIN_S = 30
BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": []}


def promtool(*arguments: str, told: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    need("prometheus")
    command = ("/usr/bin/promtool", *arguments)
    return subprocess.run(command, input=told, capture_output=True, timeout=WITHIN_S)


def test_it_takes_our_rules() -> None:
    done = promtool("check", "rules", "--lint=all", str(ROOT / "deploy/prometheus/alerts.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_finds_no_fault_in_our_metrics(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(text_turn())
    with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as client:
        client.post("/v1/messages", json=BODY, headers=gateway.headers).raise_for_status()
        ledger_row()
        scraped = client.get("/metrics").content
    assert b"opscenter_requests_total" in scraped
    done = promtool("check", "metrics", told=scraped)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
