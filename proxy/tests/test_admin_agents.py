"""Agents and crews in the admin: made, changed, and refused with the field that is wrong."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Organization
from proxy.models import Agent, Crew

pytestmark = pytest.mark.django_db


def agent_form(**fields: Any) -> dict[str, Any]:
    form = {
        "slug": "reader",
        "name": "Reader",
        "instructions": "Read.",
        "toolsets": '[{"url": "tunnel://laptop/files"}]',
        "task_types": '["general"]',
        "position": 5,
        "enabled": "on",
        "most_turns": 20,
        "most_calls": 100,
        "most_s": 600,
    }
    return form | fields


def crew_form(*agents: Agent, **fields: Any) -> dict[str, Any]:
    form = {
        "slug": "team",
        "name": "Team",
        "kind": "chain",
        "rounds": 2,
        "task_types": "[]",
        "position": 5,
        "enabled": "on",
        "members-TOTAL_FORMS": len(agents),
        "members-INITIAL_FORMS": 0,
    }
    for number, agent in enumerate(agents):
        form |= {f"members-{number}-agent": agent.pk, f"members-{number}-position": number + 1}
    return form | fields


def test_an_agent_is_made_and_changed(admin_client: Client) -> None:
    added = admin_client.post(reverse("admin:proxy_agent_add"), agent_form())
    assert added.status_code == 302, added.context["errors"]
    agent = Agent.objects.get(slug="reader")
    assert agent.toolsets == [{"url": "tunnel://laptop/files"}]
    page = admin_client.get(reverse("admin:proxy_agent_change", args=[agent.pk]))
    assert page.status_code == 200
    assert b"tunnel://laptop/files" in page.content


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"toolsets": '[{"url": "ftp://a"}]'}, "is no server"),
        ({"model": "claude-agent-reader"}, "This is an agent itself"),
        ({"task_types": '["cooking"]'}, "cooking"),
        ({"slug": "auto"}, "auto means whoever suits"),
        ({"most_turns": 0}, "greater than or equal to 1"),
    ],
)
def test_it_says_what_is_wrong_with_an_agent(
    admin_client: Client, fields: dict[str, Any], why: str
) -> None:
    page = admin_client.post(reverse("admin:proxy_agent_add"), agent_form(**fields))
    assert page.status_code == 200
    assert why in page.content.decode()


def test_a_crew_is_made_of_agents(admin_client: Client) -> None:
    writer, tester = (Agent.objects.create(slug=slug, name=slug) for slug in ("w", "t"))
    added = admin_client.post(reverse("admin:proxy_crew_add"), crew_form(writer, tester))
    assert added.status_code == 302, added.context["errors"]
    crew = Crew.objects.get(slug="team")
    assert list(crew.members.values_list("agent__slug", flat=True)) == ["w", "t"]
    for name in ("changelist", "add"):
        assert admin_client.get(reverse(f"admin:proxy_crew_{name}")).status_code == 200
    assert admin_client.get(reverse("admin:proxy_crew_change", args=[crew.pk])).status_code == 200


def test_a_crew_holds_no_agent_of_others(admin_client: Client) -> None:
    other = Organization.objects.create(name="Other")
    agent = Agent.objects.create(slug="w", name="w", organization=other)
    page = admin_client.post(reverse("admin:proxy_crew_add"), crew_form(agent))
    assert "another organization" in page.content.decode()
    assert not Crew.objects.filter(slug="team").exists()
