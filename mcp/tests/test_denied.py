"""Of a call that the policy denied little is kept, and enough for the audit."""

import hashlib
import json

import pytest

from accounts.tests import people
from mcp import auditing, calls, denied
from mcp.models import AuditedCall, Connector, ToolCall
from mcp.tests import test_auditing
from mcp.tests.queues import new_call
from mcp.tests.test_auditing import told

alice, laptop = people.alice, test_auditing.laptop


def test_it_keeps_of_a_large_call_that_was_denied_its_beginning(laptop: Connector) -> None:
    arguments = {"command": f"make {'x' * 900_000}", "deep": {"a": 1}, "n": 3.5}
    params = json.dumps({"name": "bash", "arguments": arguments})
    calls.deny(new_call(laptop, params=params), "no")
    assert len(ToolCall.objects.get().params) < denied.MAX_BYTES
    auditing.write()
    said = told(AuditedCall.objects.get())
    assert said["preview"].startswith('{"command": "make xxx')
    assert said["params_sha256"] == hashlib.sha256(params.encode()).hexdigest()


@pytest.mark.parametrize("params", ["[" * 20_000, "7" * 20_000, '"' + "x" * 20_000 + '"'])
def test_it_keeps_whatever_was_denied_short(params: str) -> None:
    assert len(denied.stored(params)) < 1000
    assert denied.stored("{}") == "{}"
