"""Brigade as an upstream, through a running gateway: each of its dialects is an answer."""

import re
from typing import Any

import httpx
import pytest

from proxy.models import Route
from proxy.models import Upstream as Provider
from tests import brigade as brigades
from tests.asking import ask, stream
from tests.brigade import Brigade
from tests.conftest import lead_to, ledger_row
from tests.gateway import Gateway
from tests.turns import text_turn

brigade = brigades.brigade
DELTA = re.compile(r'"text_delta","text":"([^"]*)"')


def said_in(events: str) -> str:
    return "".join(DELTA.findall(events))


HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def led(gateway: Gateway, brigade: Brigade) -> Provider:
    """The only upstream, with its row."""
    Route.objects.all().delete()
    return lead_to(brigade.url, name="unicorn", kind="brigade")


def speaking(led: Provider, dialect: str) -> None:
    led.dialect = dialect
    led.save()


@pytest.mark.parametrize("dialect", ["openai", "chat", "tasks", "a2a"])
def test_it_answers_whole(
    led: Provider, client: httpx.Client, brigade: Brigade, dialect: str
) -> None:
    speaking(led, dialect)
    brigade.say(text_turn("Yes, sir."))
    said = ask(client, **HI).json()
    assert said["content"] == [{"type": "text", "text": "Yes, sir."}]
    assert (said["stop_reason"], said["model"]) == ("end_turn", "claude-opus-5-5")
    row = ledger_row()
    if dialect == "a2a":
        assert (row.estimated, row.flags) == (True, "uncounted")
        assert row.output_tokens > 0
    else:
        assert (row.input_tokens, row.output_tokens, row.estimated) == (25, 15, False)


@pytest.mark.parametrize("dialect", ["openai", "chat", "tasks", "a2a"])
def test_it_answers_in_a_stream(
    led: Provider, client: httpx.Client, brigade: Brigade, dialect: str
) -> None:
    speaking(led, dialect)
    brigade.say(text_turn("Yes, sir."))
    with stream(client, **HI) as response:
        text = response.read().decode()
    assert said_in(text) == "Yes, sir."
    assert text.count("event: message_stop") == 1
    ledger_row(state="completed")
