"""Who is let in to /v1/messages, and how an upstream's refusal comes back."""

import httpx
import pytest

from billing.models import UsageRecord
from proxy.models import Upstream as Provider
from tests import answers
from tests.conftest import ledger_row
from tests.gateway import Gateway
from tests.test_messages import JSON, STREAM, WHOLE, post
from tests.upstream import Upstream


@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": "Bearer KEY"},
        {"authorization": "bearer KEY"},
        {"x-api-key": "KEY"},
        {"x-api-key": "Bearer KEY"},
        {"authorization": "Bearer KEY", "x-api-key": "KEY"},
        {"authorization": "Bearer KEY", "x-api-key": "sk-uc-000000000000-nonsense"},
        {"authorization": "Bearer nonsense", "x-api-key": "KEY"},
    ],
)
def test_it_takes_the_key_from_wherever_it_is_shown(
    gateway: Gateway, shown: dict[str, str]
) -> None:
    headers = {name: value.replace("KEY", gateway.key) for name, value in shown.items()}
    response = httpx.post(
        f"{gateway.url}/v1/messages", content=WHOLE, headers=JSON | headers, trust_env=False
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"authorization": "Bearer sk-ant-anything"},
        {"x-api-key": "sk-uc-000000000000-" + "a" * 43},
    ],
)
def test_it_refuses_who_shows_no_good_key_once_and_for_all(
    gateway: Gateway, upstream: Upstream, shown: dict[str, str]
) -> None:
    response = httpx.post(
        f"{gateway.url}/v1/messages", content=WHOLE, headers=JSON | shown, trust_env=False
    )
    assert response.status_code == 401
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["type"] == "authentication_error"
    assert response.json()["request_id"] == response.headers["request-id"]
    assert upstream.requests == []
    assert not UsageRecord.objects.exists()


@pytest.mark.parametrize("status", [400, 402, 403, 404, 413, 429, 500, 529])
@pytest.mark.parametrize("body", [WHOLE, STREAM])
def test_it_gives_back_an_upstreams_refusal_byte_for_byte(
    client: httpx.Client, upstream: Upstream, status: int, body: bytes
) -> None:
    said = b'{"type":"error", "error":{"type":"x_error","message":"tools.3.defer_loading: Extra"}}'
    headers = {"content-type": "application/json", "retry-after": "7", "x-should-retry": "true"}
    upstream.script(
        answers.whole(said, status=status, headers=headers | {"anthropic-organization-id": "ours"})
    )
    response = post(client, body)
    assert (response.status_code, response.content) == (status, said)
    assert (response.headers["retry-after"], response.headers["x-should-retry"]) == ("7", "true")
    assert "anthropic-organization-id" not in response.headers
    row = ledger_row()
    assert (row.state, row.status, row.error_type) == ("failed", status, "x_error")


def test_it_does_not_blame_the_user_for_the_operators_credential(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.error(401, "authentication_error", "invalid x-api-key sk-ant-secret"))
    response = post(client)
    assert (response.status_code, response.json()["error"]["type"]) == (502, "api_error")
    assert response.headers["x-should-retry"] == "false"
    assert "credential" in response.json()["error"]["message"]
    assert "sk-ant-secret" not in response.text


def test_it_says_when_the_operators_credential_is_not_set(
    client: httpx.Client, upstream: Upstream
) -> None:
    Provider.objects.update(credential_variable="NOT_SET_ANYWHERE")
    upstream.script(answers.error(401, "authentication_error", "x-api-key header is required"))
    message = post(client).json()["error"]["message"]
    assert message == "The credential for the upstream scripted is not set in this gateway."


def test_it_tells_the_operator_why_an_upstream_cannot_be_reached(
    client: httpx.Client, upstream: Upstream, gateway: Gateway
) -> None:
    upstream.script(answers.gone())
    request_id = post(client).headers["request-id"]
    assert ledger_row().status == 502
    lines = [line for line in gateway.log.read_text().splitlines() if request_id in line]
    assert "The upstream scripted cannot be reached. (ServerDisconnectedError" in lines[0]


@pytest.mark.parametrize("body", [WHOLE, STREAM])
def test_it_says_502_when_the_upstream_dies_before_the_first_byte(
    client: httpx.Client, upstream: Upstream, body: bytes
) -> None:
    upstream.script(answers.gone())
    response = post(client, body)
    assert (response.status_code, response.json()["error"]["type"]) == (502, "api_error")
    assert "cannot be reached" in response.json()["error"]["message"]
    assert ledger_row().state == "failed"


def test_it_says_502_when_the_answer_is_no_answer(client: httpx.Client, upstream: Upstream) -> None:
    upstream.script(answers.as_html("<h1>Welcome</h1>", status=200))
    response = post(client)
    assert response.status_code == 502
    assert "text/html" in response.json()["error"]["message"]
