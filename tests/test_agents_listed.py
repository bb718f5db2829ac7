"""GET /v1/models lists agents and crews beside the models."""

import httpx

from accounts.tests.people import Person
from proxy.models import Agent, Crew, CrewMember, Route, Upstream


def listed(client: httpx.Client) -> dict[str, dict[str, object]]:
    response = client.get("/v1/models?limit=1000")
    assert response.status_code == 200, response.text
    return {model["id"]: model for model in response.json()["data"]}


def test_it_lists_agents_and_crews_and_whoever_suits(client: httpx.Client) -> None:
    writer = Agent.objects.create(slug="writer", name="Writer", description="Writes.")
    Agent.objects.create(slug="off", name="Off", enabled=False)
    crew = Crew.objects.create(slug="pair", name="Pair", kind=Crew.Kind.SINGLE)
    CrewMember.objects.create(crew=crew, agent=writer)
    models = listed(client)
    ours = [name for name in models if name.startswith(("claude-agent-", "claude-crew-"))]
    assert ours == ["claude-agent-writer", "claude-crew-pair"]
    shown = models["claude-agent-writer"]
    assert (shown["display_name"], shown["description"]) == ("Writer", "Writes.")
    assert models["claude-brigade-auto"]["display_name"] == "Brigade"
    assert client.get("/v1/models/claude-agent-writer").json() == shown


def test_it_shows_the_limits_of_the_upstream_that_the_agent_asks(client: httpx.Client) -> None:
    hub = Upstream.objects.create(
        name="hub", kind="openai", base_url="http://hub", context_window=9000
    )
    Route.objects.create(pattern="qwen", upstream=hub, position=1)
    Agent.objects.create(slug="writer", name="Writer", model="qwen")
    assert listed(client)["claude-agent-writer"]["max_input_tokens"] == 9000


def test_it_lists_no_agent_of_another_organization(client: httpx.Client, charlie: Person) -> None:
    Agent.objects.create(slug="theirs", name="Theirs", organization=charlie.organization)
    assert not [name for name in listed(client) if name.startswith(("claude-agent", "claude-bri"))]


def test_it_lists_the_route_where_one_has_exactly_an_agents_name(client: httpx.Client) -> None:
    Agent.objects.create(slug="writer", name="Writer")
    upstream = Upstream.objects.get()
    Route.objects.create(pattern="claude-agent-writer", upstream=upstream, display_name="A route")
    assert listed(client)["claude-agent-writer"]["display_name"] == "A route"
