"""POST /api/v1/brigade/preview says who would answer, and why."""

import httpx
import pytest

from accounts.tests.people import Person
from proxy.models import Agent, Crew, Route, Upstream
from tests.gateway import Gateway

URL = "/api/v1/brigade/preview"


@pytest.fixture
def reviewer(transactional_db: None) -> Agent:
    Crew.objects.all().delete()  # the first ones keep their agents from being deleted
    Agent.objects.all().delete()
    return Agent.objects.create(
        slug="critic",
        name="Critic",
        model="claude-opus-5-5",
        task_types=["code_review"],
        toolsets=[{"url": "tunnel://laptop/files"}],
    )


def test_it_says_who_would_answer_and_why(client: httpx.Client, reviewer: Agent) -> None:
    told = client.post(URL, json={"prompt": "Please review src/auth for me."}).json()
    assert (told["task_type"], told["kind"], told["crew"]) == ("code_review", "single", None)
    assert "review" in told["words"]
    assert 0 < told["confidence"] <= 1
    assert told["agents"] == [
        {
            "slug": "critic",
            "name": "Critic",
            "model": "claude-opus-5-5",
            "toolsets": ["tunnel://laptop/files"],
        }
    ]


def test_it_takes_a_type_instead_of_guessing(client: httpx.Client, reviewer: Agent) -> None:
    told = client.post(URL, json={"prompt": "Hi.", "task_type": "code_review"}).json()
    assert (told["agents"][0]["slug"], told["confidence"]) == ("critic", 1.0)


def test_a_route_that_takes_the_name_does_not_hinder_it(
    client: httpx.Client, reviewer: Agent
) -> None:
    Route.objects.create(pattern="claude-brigade-auto", upstream=Upstream.objects.get())
    told = client.post(URL, json={"prompt": "Please review src/auth for me."})
    assert told.json()["agents"][0]["slug"] == "critic"


def test_it_names_what_is_wrong(
    client: httpx.Client, gateway: Gateway, reviewer: Agent, alice: Person
) -> None:
    assert client.post(URL, json={}).status_code == 400
    assert client.post(URL, json={"prompt": "x", "task_type": "cooking"}).status_code == 400
    nobody = client.post(URL, json={"prompt": "Design a system."})
    assert nobody.status_code == 400
    assert "No agent is for system_design" in nobody.text
    assert httpx.post(gateway.url + URL, json={"prompt": "x"}).status_code == 401
