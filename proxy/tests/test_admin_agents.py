"""The admin pages about agents and crews."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import AuditEntry, Organization
from proxy.models import Agent, Crew, CrewMember, Route, Upstream
from proxy.tests.test_admin import (
    ESCAPED,
    HTML,
    ROUTES,
    UPSTREAMS,
    operator,
    staff,
    upstream_form,
)

__all__ = ["operator"]

AGENTS = "/admin/proxy/agent/"
CREWS = "/admin/proxy/crew/"


@pytest.fixture(autouse=True)
def none_there(db: None) -> None:
    """Not the ones that the migration made."""
    Crew.objects.all().delete()
    Agent.objects.all().delete()


def agent(slug: str, **more: Any) -> Agent:
    return Agent.objects.create(slug=slug, name=slug, **more)


def agent_form(**fields: Any) -> dict[str, Any]:
    form = {
        "name": "Writer",
        "slug": "writer",
        "instructions": "Write well.",
        "task_types": ["code_generation", "general"],
        "toolsets": '[{"url": "tunnel://laptop/files", "allow": ["read_file"]}]',
        "position": 5,
        "most_turns": 20,
        "most_calls": 100,
        "most_s": 600,
        "most_cost_nano": "0.25",
        "enabled": "on",
    }
    return form | fields


def crew_form(*members: Agent, **fields: Any) -> dict[str, Any]:
    form: dict[str, Any] = {
        "name": "Pair",
        "slug": "pair",
        "kind": "chain",
        "rounds": 1,
        "position": 5,
        "enabled": "on",
        "members-TOTAL_FORMS": len(members),
        "members-INITIAL_FORMS": 0,
    }
    for number, member in enumerate(members):
        form |= {f"members-{number}-agent": member.pk, f"members-{number}-position": number}
    return form | fields


def errors(client: Client, page: str, form: dict[str, Any]) -> str:
    answer = client.post(page, form)
    assert answer.status_code == 200, "it was saved"
    return answer.content.decode()


def test_it_makes_an_agent_and_shows_it_again(operator: Client) -> None:
    answer = operator.post(AGENTS + "add/", agent_form())
    assert answer.status_code == 302, answer.context["adminform"].errors
    made = Agent.objects.get()
    assert (made.task_types, made.most_cost_nano) == (["code_generation", "general"], 250_000_000)
    assert made.toolsets == [{"url": "tunnel://laptop/files", "allow": ["read_file"]}]
    page = operator.get(f"{AGENTS}{made.pk}/change/").content.decode()
    assert 'value="0.25"' in page
    assert page.count("checked") >= 3  # two types, and that it is enabled
    assert "claude-agent-writer" in operator.get(AGENTS).content.decode()


def test_it_takes_an_emptied_field_for_no_tools(operator: Client) -> None:
    assert operator.post(AGENTS + "add/", agent_form(toolsets="")).status_code == 302
    assert Agent.objects.get().toolsets == []


def test_it_takes_an_emptied_field_for_no_tools_of_a_route(operator: Client) -> None:
    upstream = Upstream.objects.create(name="demo", kind="demo")
    form = {"pattern": "m", "upstream": upstream.pk, "position": 1, "weight": 1}
    form |= {"lifecycle": "active", "toolsets": ""}
    assert operator.post(ROUTES + "add/", form).status_code == 302
    assert Route.objects.get().toolsets == []


def test_it_takes_an_emptied_field_for_no_headers_of_an_upstream(operator: Client) -> None:
    form = upstream_form(headers="", aliases="")
    assert operator.post(UPSTREAMS + "add/", form).status_code == 302
    assert (Upstream.objects.get().headers, Upstream.objects.get().aliases) == ({}, {})


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("Lower-case letters", {"slug": "Writer"}),
        ("auto means whoever suits", {"slug": "auto"}),
        ("This is an agent itself", {"model": "claude-agent-other"}),
        ("This is an agent itself", {"model": "claude-brigade-auto"}),
        ("enter one name", {"model": "claude-*"}),
        ("Toolset 1: &#x27;ftp://x&#x27; is no server", {"toolsets": '[{"url": "ftp://x"}]'}),
        ("Toolset 1: there is no", {"toolsets": '[{"url": "tunnel://files", "allowed": []}]'}),
        ("Write a JSON list", {"toolsets": '{"url": "tunnel://files"}'}),
        ("Enter a valid JSON", {"toolsets": "files"}),
        ("Select a valid choice", {"task_types": ["poetry"]}),
        ("less than or equal to 200", {"most_turns": 201}),
        ("greater than or equal to 1", {"most_s": 0}),
        ("Write a number", {"most_cost_nano": "cheap"}),
    ],
)
def test_it_says_what_is_wrong_with_an_agent(
    operator: Client, words: str, fields: dict[str, Any]
) -> None:
    assert words in errors(operator, AGENTS + "add/", agent_form(**fields))
    assert not Agent.objects.exists()


def test_it_has_each_slug_once_for_all_and_once_for_each_organization(operator: Client) -> None:
    agent("writer")
    assert "of this slug already" in errors(operator, AGENTS + "add/", agent_form())
    acme = Organization.objects.create(name="Acme")
    for status in (302, 200):
        answer = operator.post(AGENTS + "add/", agent_form(organization=acme.pk))
        assert answer.status_code == status


def test_it_makes_a_crew_with_its_agents_in_their_order(operator: Client) -> None:
    writer, tester = agent("writer"), agent("tester")
    answer = operator.post(CREWS + "add/", crew_form(tester, writer, rounds=2))
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    crew = Crew.objects.get()
    order = [member.agent.slug for member in crew.members.select_related("agent")]
    assert (order, crew.rounds) == (["tester", "writer"], 2)
    assert operator.get(f"{CREWS}{crew.pk}/change/").status_code == 200
    assert "claude-crew-pair" in operator.get(CREWS).content.decode()


@pytest.mark.parametrize(
    ("words", "size", "fields"),
    [
        ("has 2 to 8 agents; here are 1", 1, {}),
        ("has 1 agents; here are 2", 2, {"kind": "single"}),
        ("has 2 to 8 agents; here are 0", 0, {"kind": "fan_out"}),
        ("has 2 to 8 agents; here are 9", 9, {}),
        ("Only a chain goes round", 2, {"kind": "fan_out", "rounds": 2}),
        ("less than or equal to 5", 2, {"rounds": 6}),
    ],
)
def test_it_says_what_is_wrong_with_a_crew(
    operator: Client, words: str, size: int, fields: dict[str, Any]
) -> None:
    members = [agent(f"a{number}") for number in range(size)]
    assert words in errors(operator, CREWS + "add/", crew_form(*members, **fields))
    assert not Crew.objects.exists()


def test_it_lets_a_crew_hold_nobody_whom_its_people_may_not_ask(operator: Client) -> None:
    acme = Organization.objects.create(name="Acme")
    theirs, shared = agent("theirs", organization=acme), agent("shared")
    words = "for one other organization only"
    assert words in errors(operator, CREWS + "add/", crew_form(theirs, shared))
    form = crew_form(shared, theirs, kind="fan_out", synthesizer=theirs.pk, organization=acme.pk)
    assert operator.post(CREWS + "add/", form).status_code == 302
    form = agent_form(slug="shared", organization=Organization.objects.create(name="B").pk)
    page = f"{AGENTS}{shared.pk}/change/"
    assert "It is in the crew pair" in errors(operator, page, form)


def test_it_deletes_no_agent_that_a_crew_needs(operator: Client) -> None:
    writer = agent("writer")
    crew = Crew.objects.create(slug="pair", name="Pair", kind="single")
    CrewMember.objects.create(crew=crew, agent=writer)
    operator.post(f"{AGENTS}{writer.pk}/delete/", {"post": "yes"})
    assert Agent.objects.exists()
    operator.post(f"{CREWS}{crew.pk}/delete/", {"post": "yes"})
    operator.post(f"{AGENTS}{writer.pk}/delete/", {"post": "yes"})
    assert not Agent.objects.exists()


def test_it_deletes_an_organization_with_its_crew(operator: Client) -> None:
    acme = Organization.objects.create(name="Acme")
    crew = Crew.objects.create(slug="pair", name="Pair", kind="single", organization=acme)
    CrewMember.objects.create(crew=crew, agent=agent("theirs", organization=acme))
    acme.delete()
    assert not Crew.objects.exists()
    assert not Agent.objects.exists()


def test_it_writes_down_who_changed_what(operator: Client) -> None:
    operator.post(AGENTS + "add/", agent_form())
    row = Agent.objects.get()
    form = agent_form(instructions="Write badly.", toolsets="[]", position=9)
    operator.post(f"{AGENTS}{row.pk}/change/", form)
    created, changed = AuditEntry.objects.order_by("id")
    assert (created.action, created.details["instructions"]) == ("agent.created", "changed")
    assert changed.details["changed"] == {
        "instructions": "changed",
        "position": [5, 9],
        "toolsets": [[{"url": "tunnel://laptop/files", "allow": ["read_file"]}], []],
    }


def test_it_lets_nobody_read_markup_as_such(operator: Client) -> None:
    row = agent("writer", description=HTML, instructions=HTML)
    Agent.objects.update(name=HTML)
    for page in (AGENTS, f"{AGENTS}{row.pk}/change/"):
        shown = operator.get(page).content.decode()
        assert ESCAPED in shown
        assert HTML not in shown


def test_it_shows_an_agent_to_who_may_only_look(operator: Client) -> None:
    row = agent("writer", most_cost_nano=250_000_000)
    looking = staff("view_agent")
    assert "$0.25" in looking.get(f"{AGENTS}{row.pk}/change/").content.decode()
    assert looking.post(f"{AGENTS}{row.pk}/change/", agent_form()).status_code == 403
    assert looking.get(CREWS).status_code == 403


@pytest.mark.parametrize(("page", "queries"), [(AGENTS, 5), (CREWS, 5)])
def test_it_asks_as_often_for_many_rows_as_for_few(
    operator: Client, page: str, queries: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(page)  # Django looks content types up once per process
    for size in range(2):
        for number in range(10):
            one = agent(f"a{size}-{number}")
            crew = Crew.objects.create(slug=f"c{size}-{number}", name="C", kind="single")
            CrewMember.objects.create(crew=crew, agent=one)
        with django_assert_num_queries(queries):
            assert operator.get(page).status_code == 200
